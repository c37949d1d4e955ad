//! Whoever stands between a machine and the authority hears nothing worth hearing.

use shared::join::JoinString;
use shared::key::{Algorithm, PrivateKey};
use tests::{Caller, Credentials, Machine, Middle, Network, Online};

/// The root of a network, from one of its bundles.
fn root_of(network: &Network, node: &str) -> Vec<u8> {
    let text = std::fs::read(network.bundle(node).join("trust.pem")).unwrap();
    shared::pem::certificates(&text, 3).unwrap().swap_remove(0)
}

/// What the door itself shows, and its key.
fn of_the_door(network: &Network) -> Credentials {
    let authority = network.authority();
    let (mut chain, key) = authority.certificate().unwrap();
    chain.extend(authority.trust_der().first().cloned());
    Credentials { chain, key: key.pkcs8().to_vec() }
}

#[test]
fn an_impostor_hears_nothing_whatever_it_shows() {
    let (network, twin) = (Network::with(&["bob"]), Network::with(&["bob"]));
    let root = root_of(&network, "bob");
    let door = of_the_door(&network);
    let own = Credentials::self_signed("authority");
    let member = Credentials::of_bundle(&network.bundle("bob"));
    let mut twins = of_the_door(&twin);
    let with_root = |credentials: &Credentials, root: &[u8]| Credentials {
        chain: [&credentials.chain[..], &[root.to_vec()]].concat(),
        key: credentials.key.clone(),
    };
    let relayed =
        Credentials { chain: [&own.chain[..], &door.chain[1..]].concat(), key: own.key.clone() };
    let parroted = Credentials { chain: door.chain.clone(), key: own.key.clone() };
    let whole_twin = twins.clone();
    twins.chain[2].clone_from(&root);
    let online = Online::start(&network);
    let string = online.invite("carol");
    for (what, credentials, code) in [
        ("a certificate of its own", own.clone(), "foreign-authority"),
        ("its own below the pinned root", with_root(&own, &root), "foreign-authority"),
        ("its own below the true chain", relayed, "foreign-authority"),
        ("another authority's", whole_twin, "foreign-authority"),
        ("another authority's with the pinned root", twins, "foreign-authority"),
        ("a member's", with_root(&member, &root), "wrong-name"),
        ("the true chain without its key", parroted, ""),
    ] {
        let middle = Middle::before(online.address(), &credentials);
        let machine = Machine::new();
        let said = machine.join(&through(&string, middle.address()));
        assert!(said.code == 3 || (code.is_empty() && said.code == 1), "{what}: {said:?}");
        assert!(said.err.contains(code), "{what}: {said:?}");
        assert!(machine.names().is_empty(), "{what}: no key is made");
        tests::wait_until("the call is over", tests::SOON, || !middle.calls().is_empty());
        assert!(middle.calls().iter().all(Vec::is_empty), "{what}: it heard something");
    }
    // The string is as good as before.
    let _ = Machine::new().join(&string).ended(0);
}

fn through(string: &str, address: &str) -> String {
    let mut string = JoinString::parse(string).unwrap();
    string.addresses = vec![address.to_owned()];
    string.reveal().to_string()
}

#[test]
fn who_has_stolen_the_doors_own_key_gains_no_certificate() {
    let network = Network::new();
    let door = of_the_door(&network);
    let online = Online::start(&network);
    let string = online.invite("carol");
    let middle = Middle::before(online.address(), &door);
    let machine = Machine::new();
    let said = machine.join(&through(&string, middle.address())).ended(3);
    assert!(said.err.contains("wrong-proof") && said.err.contains("in between"), "{said:?}");
    tests::wait_until("the call is over", tests::SOON, || !middle.calls().is_empty());
    let heard = middle.calls().concat();
    let secret = JoinString::parse(&string).unwrap().secret;
    let has = |part: &[u8]| heard.windows(part.len()).any(|window| window == part);
    assert!(has(b"POST /v1/join") && has(secret.id().unwrap().as_bytes()), "it did hear it");
    assert!(!has(secret.as_bytes()) && !has(secret.proof_key().unwrap().as_bytes()));
    let invited = network.ca("invites --json").json();
    assert_eq!(invited[0]["state"], "open");
    let _ = machine.join(&string).ended(0);
}

#[test]
fn a_recorded_request_is_of_no_use_on_another_connection() {
    let network = Network::new();
    let online = Online::start(&network);
    let string = JoinString::parse(&online.invite("carol")).unwrap();
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let csr = shared::cert::request::make(&key, "carol").unwrap();
    let mut first = Caller::at(online.address());
    let recorded = first.request(&string, &csr).to_bytes();
    for _ in 0..3 {
        let replayed = Caller::at(online.address()).post("/v1/join", &recorded);
        assert_eq!((replayed.status, replayed.code().as_deref()), (403, Some("wrong-proof")));
    }
    let answered = first.post("/v1/join", &recorded);
    assert_eq!(answered.status, 200);
    // Also after it was answered, and what was answered proves nothing elsewhere.
    let replayed = Caller::at(online.address()).post("/v1/join", &recorded);
    assert_eq!(replayed.code().as_deref(), Some("wrong-proof"));
    let answer = shared::join::Answer::from_bytes(&answered.body).unwrap();
    let proof_key = string.secret.proof_key().unwrap();
    assert!(proof_key.admits_grant(&answer.proof, &first.exporter(), &answer.grant));
    let other = Caller::at(online.address());
    assert!(!proof_key.admits_grant(&answer.proof, &other.exporter(), &answer.grant));
}
