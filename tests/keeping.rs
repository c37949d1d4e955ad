//! A peer keeps the time: from chrony, from members with the role, against liars, and never by the
//! system's clock.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use nts::server::{Plain, Settings};
use serde_json::Value;
use shared::id::InstanceId;
use shared::name::{NetworkName, NodeName};
use shared::presence::SignedPresence;
use shared::shown::Shown;
use shared::wire::Body;
use tests::chronyd::{Asking, Chronyd};
use tests::hour::Hour;
use tests::judge::shifted;
use tests::{Credentials, Ear, Network, Peer, SOON, wait_until};

const S: i64 = 1_000_000_000;

/// A mesh without roots waits half a minute for roots and one and a half for its members.
const GATHERED: Duration = Duration::from_secs(180);

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// A network with bob, who asks these sources.
fn asking(network: &Network, sources: &[String]) -> Peer {
    write_sources(&network.enroll("bob"), sources);
    network.start("bob", &[])
}

fn write_sources(bundle: &Path, sources: &[String]) {
    let path = bundle.join("node.yaml");
    let list: String = sources.iter().map(|source| format!("    - {source}\n")).collect();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\ntime:\n  sources:\n{list}")).unwrap();
}

fn status(peer: &Peer) -> Value {
    peer.ask("time", &["--json"]).ended(0).json()
}

/// The sources by name and mark.
fn marks(peer: &Peer) -> Vec<(String, String)> {
    let said = peer.ask("time sources", &["--json"]).ended(0);
    let lines = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    lines.map(|source| (word(&source["name"]), word(&source["mark"]))).collect()
}

fn mark(peer: &Peer, name: &str) -> String {
    let all = marks(peer);
    all.iter().find(|(known, _)| known == name).map_or(String::new(), |(_, mark)| mark.clone())
}

fn wait_state(peer: &Peer, state: &str) {
    wait_until(&format!("the clock is {state}"), SOON, || status(peer)["state"] == state);
}

fn has_event(peer: &Peer, code: &str) -> bool {
    let status = status(peer);
    status["events"].as_array().unwrap().iter().any(|event| event["code"] == code)
}

/// The clock less the system's, which chrony serves.
fn off_ns(peer: &Peer) -> i64 {
    -status(peer)["system_ahead_ns"].as_i64().unwrap()
}

/// A server of ours that lies, by NTP that anybody may ask.
fn liar(network: &Network, last: u8, ahead_ns: i64) -> (Hour, String) {
    let alice = network.forge().node("alice", |_| ());
    let hour = Hour::open(at(last), &alice, Settings { plain: Plain::Answered, rate: None });
    hour.turn(ahead_ns);
    let address = format!("{{address: \"{}\", name: liar-{last}}}", hour.time());
    (hour, address)
}

#[test]
fn a_peer_takes_the_time_from_chrony_by_ntp_and_by_nts() {
    let network = Network::new();
    let alice = network.forge().node("alice", |draft| {
        if let shared::cert::Subject::Node { ips, .. } = &mut draft.subject {
            ips.push(at(1).into());
        }
    });
    let Some(chrony) = Chronyd::start(network.path(), at(1), Some(&alice)) else { return };
    let bob = network.enroll("carol");
    let trust = bob.join("trust.pem");
    let bob = asking(
        &network,
        &[
            format!("{{address: \"{}\", name: plain}}", chrony.address()),
            format!(
                "{{address: \"{}\", name: sealed, nts: true, ca: \"{}\"}}",
                chrony.exchange(),
                trust.display()
            ),
        ],
    );
    wait_state(&bob, "synchronised");
    wait_until("both agree", SOON, || {
        let marks: Vec<String> = marks(&bob).into_iter().map(|(_, mark)| mark).collect();
        marks.contains(&"*".to_owned()) && marks.contains(&"+".to_owned())
    });
    assert!(off_ns(&bob).abs() < S / 20, "{}", off_ns(&bob));
    let said = bob.ask("time", &[]).ended(0);
    assert!(said.out.starts_with("synchronised to "), "{}", said.out);
    assert!(said.out.contains("(stratum 3), offset "), "{}", said.out);
    let sources = bob.ask("time sources", &[]).ended(0);
    assert!(sources.out.contains("8/0"), "cookies and NAKs: {}", sources.out);
    let _ = bob.ask("time check", &[]).ended(0);
    let server = chrony.exchange();
    let ca = trust.display().to_string();
    let asked =
        network.peer(&format!("time query {server} --nts --ca {ca} --json")).ended(0).json();
    assert_eq!(
        (asked["authenticated"].as_bool(), asked["stratum"].as_u64()),
        (Some(true), Some(3))
    );
    let asked = network.peer(&format!("time query {server} --nts")).ended(1);
    assert!(asked.err.contains("UnknownIssuer") || asked.err.contains("unknown"), "{}", asked.err);
    let asked = network.peer(&format!("time query {} --json", chrony.address())).ended(0).json();
    assert_eq!(asked["authenticated"], false);
}

#[test]
fn three_honest_servers_and_a_liar() {
    let network = Network::new();
    let honest: Option<Vec<Chronyd>> =
        (1..=3).map(|last| Chronyd::start(network.path(), at(last), None)).collect();
    let Some(honest) = honest else { return };
    let (_hour, lying) = liar(&network, 4, S / 4);
    let mut sources: Vec<String> = honest
        .iter()
        .zip(1..)
        .map(|(chrony, last)| format!("{{address: \"{}\", name: chrony-{last}}}", chrony.address()))
        .collect();
    sources.push(lying);
    let bob = asking(&network, &sources);
    wait_state(&bob, "synchronised");
    wait_until("the liar is accused", SOON, || has_event(&bob, "clock-liar"));
    assert_eq!(mark(&bob, "liar-4"), "x");
    let agreed = marks(&bob).into_iter().filter(|(_, mark)| mark == "*" || mark == "+").count();
    assert_eq!(agreed, 3);
    assert!(off_ns(&bob).abs() < S / 20, "{}", off_ns(&bob));
    assert!(!has_event(&bob, "no-majority"));
}

#[test]
fn one_against_one_is_no_majority() {
    let network = Network::new();
    let Some(chrony) = Chronyd::start(network.path(), at(1), None) else { return };
    let (_hour, lying) = liar(&network, 2, S / 4);
    let honest = format!("{{address: \"{}\", name: chrony}}", chrony.address());
    let bob = asking(&network, &[honest, lying]);
    wait_until("that is told", SOON, || has_event(&bob, "no-majority"));
    let said = bob.ask("time", &[]).ended(0);
    let words = "not synchronised, because 2 of 2 roots answer and contradict each other";
    assert!(said.out.starts_with(words), "{}", said.out);
    assert!(off_ns(&bob).abs() < S / 20, "nobody moved it");
}

#[test]
fn two_liars_lead_when_anybody_has_a_vote_and_not_when_the_role_decides() {
    let network = Network::new();
    let Some(chrony) = Chronyd::start(network.path(), at(1), None) else { return };
    let ((_one, first), (_two, second)) = (liar(&network, 2, S / 4), liar(&network, 3, S / 4));
    let honest = format!("{{address: \"{}\", name: chrony}}", chrony.address());
    let bob = asking(&network, &[honest, first, second]);
    wait_until("the liars lead, as with chrony", SOON, || (off_ns(&bob) - S / 4).abs() < S / 20);
    assert_eq!(mark(&bob, "chrony"), "x");
    drop(bob);

    let network = Network::new();
    network.ca("enroll hub --out hub.bundle --roles time-root");
    let mut hours = Vec::new();
    let mut sources = Vec::new();
    for (name, last, ahead_ns) in [("hub", 1, 0), ("eve", 2, S / 4), ("mallory", 3, S / 4)] {
        // A role of nearly that name is another role.
        if name == "mallory" {
            network.ca("enroll mallory --out mallory.bundle --roles time-rot");
        } else if name == "eve" {
            let _ = network.enroll(name);
        }
        let bundle = network.bundle(name);
        let hour = Hour::open(at(last), &Credentials::of_bundle(&bundle), Settings::default());
        hour.turn(ahead_ns);
        hour.name(name);
        sources.push(format!("{{peer: {name}, address: \"{}\"}}", hour.exchange()));
        hours.push(hour);
    }
    let bob = asking(&network, &sources);
    wait_state(&bob, "synchronised");
    wait_until("both are told of", SOON, || {
        mark(&bob, "eve") == "!" && mark(&bob, "mallory") == "!"
    });
    assert!(has_event(&bob, "bad-role"));
    assert!(off_ns(&bob).abs() < S / 20, "{}", off_ns(&bob));
    let said = bob.ask("time", &[]).ended(0);
    assert!(said.out.starts_with("synchronised to root hub (stratum 1), offset "), "{}", said.out);

    network.ca("revoke hub --reason key-compromise");
    network.ca("feed export --out mesh.feed");
    let feed = network.path().join("mesh.feed");
    let _ = bob.ask("feed import", &[feed.to_str().unwrap()]).ended(0);
    wait_until("hub is no source any more", SOON, || mark(&bob, "hub").is_empty());
}

/// A server that takes no cookie, whenever it was given, and a way on which NTS is stripped:
/// neither is believed, both are told, and whoever mends is heard again.
#[test]
fn who_takes_no_cookie_and_who_strips_nts_is_told_of() {
    let network = Network::new();
    let mut hours = Vec::new();
    let mut sources = Vec::new();
    for (name, last) in [("hub", 1), ("eve", 2)] {
        network.ca(&format!("enroll {name} --out {name}.bundle --roles time-root"));
        let own = Credentials::of_bundle(&network.bundle(name));
        let hour = Hour::open(at(last), &own, Settings::default());
        hour.name(name);
        sources.push(format!("{{peer: {name}, address: \"{}\"}}", hour.exchange()));
        hours.push(hour);
    }
    hours[0].strip(true);
    hours[1].forget_always(true);
    let bob = asking(&network, &sources);
    wait_until("somebody strips", SOON, || has_event(&bob, "nts-strip"));
    wait_until("it storms", GATHERED, || has_event(&bob, "nts-nak-storm"));
    assert_ne!(status(&bob)["state"], "synchronised", "what was stripped was no answer");
    assert!(bob.log().contains("hub answered a question with NTS without it"), "{}", bob.log());
    assert!(bob.log().contains("eve has refused 8 cookies in a row"), "{}", bob.log());
    hours[0].strip(false);
    wait_until("the hub answers again", GATHERED, || mark(&bob, "hub") != "?");
}

#[test]
fn the_role_is_for_peers_and_has_one_name() {
    let network = Network::new();
    let app = network.try_ca("enroll meter --profile app --out meter.bundle --roles time-root");
    assert!(app.ended(3).err.contains("the role time-root is for peers only"));
    let shouted = network.try_ca("enroll hub --out hub.bundle --roles Time-Root");
    assert!(shouted.ended(2).err.contains("only a-z, 0-9 and - are allowed"));
    assert!(!network.bundle("meter").exists() && !network.bundle("hub").exists());
    let slip = network.ca("enroll eve --out eve.bundle --roles time-rot");
    assert!(slip.err.contains("did you mean time-root?"), "{}", slip.err);
    let own = network.ca("enroll dave --out dave.bundle --roles relay,camera");
    assert!(own.err.is_empty(), "{}", own.err);
    network.ca("enroll hub --out hub.bundle --roles time-root");
}

/// Chrony and we ask the same servers, and come to the same: whom each of them follows.
fn chrony_agrees(honest: RangeInclusive<u8>, liars: RangeInclusive<u8>, followed: &[bool]) {
    let network = Network::new();
    let honest = honest.map(|last| Chronyd::start(network.path(), at(last), None));
    let Some(honest) = honest.collect::<Option<Vec<Chronyd>>>() else { return };
    let liars: Vec<Hour> = liars.map(|last| liar(&network, last, S / 4).0).collect();
    let mut servers: Vec<String> = honest.iter().map(Chronyd::address).collect();
    servers.extend(liars.iter().map(|hour| hour.time().to_string()));
    let Some(judge) = Asking::start(network.path(), &servers) else { return };
    let named = |(address, number): (&String, usize)| {
        format!("{{address: \"{address}\", name: server-{number}}}")
    };
    let sources: Vec<String> = servers.iter().zip(1..).map(named).collect();
    let bob = asking(&network, &sources);
    let ours = || {
        let marks = marks(&bob).into_iter().map(|(_, mark)| mark);
        marks.map(|mark| is_followed(&mark)).collect::<Vec<_>>()
    };
    let theirs = || {
        let (marks, nothing) = (judge.marks(), String::new());
        let hosts = servers.iter().filter_map(|server| server.split(':').next());
        hosts.map(|host| is_followed(marks.get(host).unwrap_or(&nothing))).collect::<Vec<_>>()
    };
    let verdict: Vec<Option<bool>> = followed.iter().copied().map(Some).collect();
    wait_until("we have a verdict", SOON, || ours() == verdict);
    wait_until("chrony has the same", GATHERED, || theirs() == verdict);
}

#[test]
fn three_against_one_are_followed_by_chrony_too() {
    chrony_agrees(5..=7, 8..=8, &[true, true, true, false]);
}

#[test]
fn of_one_against_one_chrony_follows_neither_too() {
    chrony_agrees(5..=5, 8..=8, &[false, false]);
}

#[test]
fn two_who_lie_alike_lead_chrony_too() {
    chrony_agrees(5..=5, 8..=9, &[false, true, true]);
}

/// Whether a source with this mark is followed; unknown, while it is not judged.
fn is_followed(mark: &str) -> Option<bool> {
    match mark {
        "*" | "+" | "-" => Some(true),
        "x" => Some(false),
        _ => None,
    }
}

/// A machine whose battery is dead shows a day on which a certificate that has ended was good.
#[test]
fn a_certificate_that_ended_before_the_floor_is_of_no_use_whatever_the_machine_shows() {
    let network = Network::with(&["bob"]);
    let path = network.bundle("bob").join("floor");
    let mut floor = peer::time::floor::built();
    let later = host::clock::wall().plus_s(40 * 86_400);
    assert!(floor.raise(later.into(), clock::floor::Ground::Synchronised));
    peer::time::floor::write(&path, &floor).unwrap();
    let refused = Peer::fails(&network.bundle("bob"), "127.0.0.1:0");
    assert!(refused.err.contains("expired"), "{}", refused.err);
    let checked = network.peer("time check bob.bundle").ended(1);
    assert!(checked.out.contains("and it is later than"), "{}", checked.out);
    let _ = network.peer("time reset-floor bob.bundle").ended(0);
    let _ = network.peer("time check bob.bundle").ended(0);
    drop(network.start("bob", &[]));
}

/// Chrony, a root, and a member that knows neither chrony nor the system's clock.
#[test]
fn a_peer_takes_the_time_from_a_root_that_takes_it_from_chrony() {
    let network = Network::new();
    network.ca("enroll hub --out hub.bundle --roles time-root");
    let Some(chrony) = Chronyd::start(network.path(), at(1), None) else { return };
    let honest = format!("{{address: \"{}\", name: chrony}}", chrony.address());
    write_sources(&network.bundle("hub"), &[honest]);
    let doors = ["--no-lan", "--time", "127.0.0.1:0", "--ke", "127.0.0.1:0"].map(str::to_owned);
    let hub = Peer::start_as(&[], &network.bundle("hub"), "127.0.0.1:0", &doors);
    wait_state(&hub, "synchronised");
    let log = hub.log();
    let door =
        log.split("nts-ke listens on ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let bob = asking(&network, &[format!("{{peer: hub, address: \"{}\"}}", door.unwrap())]);
    wait_state(&bob, "synchronised");
    let said = bob.ask("time", &[]).ended(0);
    assert!(said.out.starts_with("synchronised to root hub (stratum 4), offset "), "{}", said.out);
    assert!(off_ns(&bob).abs() < S / 20, "{}", off_ns(&bob));
    let metrics = bob.ask("metrics", &[]).ended(0).out;
    let figure = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("conclave_{name} ")));
        line.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
    };
    assert_eq!(figure("time_sources_agreeing"), Some(1), "{metrics}");
    assert_eq!((figure("nts_keys_asked_total"), figure("nts_stripped_total")), (Some(1), Some(0)));
    assert!(figure("time_bound_ns").is_some_and(|ns| ns < 50_000_000), "{metrics}");

    network.ca("revoke bob --reason key-compromise");
    network.ca("feed export --out mesh.feed");
    let feed = network.path().join("mesh.feed");
    let _ = hub.ask("feed import", &[feed.to_str().unwrap()]).ended(0);
    wait_until("whoever is revoked hears nothing more", SOON, || {
        let sources = bob.ask("time sources", &["--json"]).ended(0).json();
        sources["trouble"].as_str().is_some_and(|why| why.contains("does not answer"))
    });
}

/// Certificates end: whoever has another one by then goes on being believed, and whoever has not is
/// no source until he has.
#[test]
fn a_root_that_renews_its_certificate_stays_a_source() {
    let network = Network::with(&["bob"]);
    let Some(chrony) = Chronyd::start(network.path(), at(1), None) else { return };
    network.short_lived(40);
    network.ca("enroll hub --out hub.bundle --roles time-root");
    write_sources(&network.bundle("hub"), &[format!("{{address: \"{}\"}}", chrony.address())]);
    let doors = ["--no-lan", "--time", "127.0.0.1:0", "--ke", "127.0.0.1:0"].map(str::to_owned);
    let hub = Peer::start_as(&[], &network.bundle("hub"), "127.0.0.1:0", &doors);
    wait_state(&hub, "synchronised");
    let log = hub.log();
    let door = log.split("nts-ke listens on ").nth(1);
    let door = door.and_then(|rest| rest.split_whitespace().next()).unwrap();
    let ends = || {
        let own = Credentials::of_bundle(&network.bundle("hub"));
        shared::cert::Facts::read(&own.chain[0]).unwrap().not_after
    };
    let first = ends();
    write_sources(&network.bundle("bob"), &[format!("{{peer: hub, address: \"{door}\"}}")]);
    let bob = network.start("bob", &[]);
    wait_state(&bob, "synchronised");
    network.short_lived(60);
    network.ca("renew hub --out hub.bundle --new-key");
    let second = ends();
    wait_until("the hub is believed on its second", GATHERED, || {
        let followed = mark(&bob, "hub") == "*";
        assert!(host::clock::wall() < second, "in time");
        followed && host::clock::wall() > first
    });
    wait_until("nobody believes the hub on a certificate that ended", GATHERED, || {
        host::clock::wall() > second && mark(&bob, "hub").is_empty()
    });
    assert_ne!(status(&bob)["state"], "isolated", "it holds over, for a root that there is");
    network.ca("renew hub --out hub.bundle --new-key");
    wait_until("the hub is asked for keys again", SOON, || mark(&bob, "hub") == "*");
}

/// Nobody has named a source to bob: the one that he is linked with offers the time.
#[test]
fn a_member_that_is_linked_and_offers_the_time_is_asked() {
    let network = Network::with(&["bob", "carol"]);
    network.ca("enroll hub --out hub.bundle --roles time-root");
    let Some(chrony) = Chronyd::start(network.path(), at(1), None) else { return };
    write_sources(&network.bundle("hub"), &[format!("{{address: \"{}\"}}", chrony.address())]);
    let doors = ["--no-lan", "--time", "127.0.0.1:0"].map(str::to_owned);
    let hub = Peer::start_as(&[], &network.bundle("hub"), "127.0.0.1:0", &doors);
    wait_state(&hub, "synchronised");
    // Carol offers nothing, and bob waits for nothing from her.
    let carol = network.start("carol", &[]);
    let bob = network.start("bob", &[&hub, &carol]);
    wait_state(&bob, "synchronised");
    let said = bob.ask("time", &[]).ended(0);
    assert!(said.out.starts_with("synchronised to root hub (stratum 4), offset "), "{}", said.out);
    assert_eq!(marks(&bob), [("hub".to_owned(), "*".to_owned())]);

    network.ca("revoke hub --reason key-compromise");
    network.ca("feed export --out mesh.feed");
    let feed = network.path().join("mesh.feed");
    let _ = bob.ask("feed import", &[feed.to_str().unwrap()]).ended(0);
    wait_until("hub is no source any more", SOON, || marks(&bob).is_empty());
}

/// It starts a year in the past, knows better by its own certificate, and asks whoever has the
/// role, although that one's certificate begins later than all it knows.
#[test]
fn a_machine_with_a_dead_battery_takes_the_time_from_a_root() {
    let network = Network::new();
    let _ = network.enroll("bob");
    network.ca("enroll hub --out hub.bundle --roles time-root");
    let _ = network.enroll("eve");
    let mut hours = Vec::new();
    let mut sources = String::new();
    for (name, last) in [("hub", 1), ("eve", 2)] {
        let own = Credentials::of_bundle(&network.bundle(name));
        let hour = Hour::open(at(last), &own, Settings::default());
        hour.name(name);
        sources += &format!("    - {{peer: {name}, address: \"{}\"}}\n", hour.exchange());
        hours.push(hour);
    }
    let path = network.bundle("bob").join("node.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\ntime:\n  sources:\n{sources}")).unwrap();
    let Some(past) = shifted("-400d") else { return };
    hours[0].hush(true);
    let _ = network.enroll("carol");
    let carol = network.start("carol", &[]);
    let dials = ["--peer".to_owned(), format!("carol={}", carol.address())];
    let bob = Peer::start_as(&past, &network.bundle("bob"), "127.0.0.1:0", &dials);
    // On a floor alone the mesh is shut: carol may not say what time it is.
    bob.wait_event("policy", "us");
    assert!(bob.log().contains("the mesh stays shut until"), "{}", bob.log());
    assert!(bob.links().is_empty() && status(&bob)["state"] == "unset");
    hours[0].hush(false);
    wait_state(&bob, "synchronised");
    bob.wait_links(&["carol"]);
    let status = status(&bob);
    let shown_ns = status["utc_ns"].as_i64().unwrap();
    assert!((shown_ns - tests::hour::wall_ns()).abs() < S, "{status}");
    assert!(status["system_ahead_ns"].as_i64().unwrap() < -399 * 86_400 * S, "{status}");
    assert!(has_event(&bob, "rollback"), "the system's clock is told of");
    wait_until("eve is asked too, now that the time is known", SOON, || mark(&bob, "eve") == "!");
}

#[test]
fn the_floor_stays_and_only_a_person_takes_it_back() {
    let network = Network::new();
    let Some(chrony) = Chronyd::start(network.path(), at(1), None) else { return };
    let honest = format!("{{address: \"{}\", name: chrony}}", chrony.address());
    let bob = asking(&network, &[honest]);
    wait_state(&bob, "synchronised");
    let floor = |peer: &Peer| status(peer)["floor"].clone();
    assert_eq!(floor(&bob)["ground"], "the newest feed or policy");
    let bundle = bob.bundle().to_owned();
    bob.terminate();
    let checked = network.peer("time check bob.bundle --json").ended(0).json();
    assert_eq!(checked["floor"]["ground"], "when this clock was last synchronised");
    let path = bundle.join("floor");
    let kept = std::fs::read(&path).unwrap();
    std::fs::write(&path, &kept[..kept.len() - 1]).unwrap();
    let refused = Peer::fails(&bundle, "127.0.0.1:0");
    assert!(refused.err.contains("is not whole"), "{}", refused.err);
    let reset = network.peer("time reset-floor bob.bundle").ended(0);
    assert!(reset.out.contains("when this program was made"), "{}", reset.out);
    let bob = network.start("bob", &[]);
    let ground = floor(&bob)["ground"].clone();
    assert!(
        ground == "the newest feed or policy" || ground == "the newest certificate",
        "{ground}"
    );
}

/// Eve tells bob one time and carol another. Neither sees a lie; together they do.
#[test]
fn who_tells_two_neighbours_two_times_is_found_out() {
    let network = Network::with(&["bob", "carol", "eve"]);
    let bob = network.start("bob", &[]);
    let carol = network.start("carol", &[&bob]);
    carol.wait_links(&["bob"]);
    let eve = Credentials::of_bundle(&network.bundle("eve"));
    let chain: Vec<&[u8]> = eve.chain.iter().map(Vec::as_slice).collect();
    let (mesh, node) = (NetworkName::parse("mesh.example"), NodeName::parse("eve"));
    let (mesh, node) = (mesh.unwrap(), node.unwrap());
    let greeting = tests::raw::greeting(&eve, 1);
    let alive = SignedPresence::peek(&greeting.presence).unwrap().instance;
    let greets = |ear: &mut Ear| {
        ear.say(&Body::Hello(greeting.clone()).to_frame());
        assert!(matches!(ear.body(), Some(Body::Welcome(_))));
    };
    let said_in = |instance, sequence, utc_ns| {
        let count_ns = 1_000_000_000 * sequence;
        let node = node.clone();
        let shown =
            Shown { node, instance, sequence, steps: 1, count_ns, utc_ns, bound_ns: 1_000_000 };
        let bytes = shown.sign(&mesh, &eve.private(), &chain).unwrap();
        Body::Shown(bytes).to_frame()
    };
    let said = |sequence, utc_ns| said_in(alive, sequence, utc_ns);
    let now = tests::hour::wall_ns();
    let mut to_bob = Ear::dial(bob.address(), Some(&eve));
    greets(&mut to_bob);
    // A run that nobody has heard of says nothing.
    to_bob.say(&said_in(InstanceId::new([7; 16]), 2, now + 99 * S));
    to_bob.say(&said(1, now));
    to_bob.say(&said(2, now + S));
    wait_until("bob knows eve", SOON, || bob.links().contains(&"eve".to_owned()));
    assert!(!has_event(&bob, "clock-two-faced"), "both can be true");
    let mut to_carol = Ear::dial(carol.address(), Some(&eve));
    greets(&mut to_carol);
    to_carol.say(&said(3, now + 9 * S));
    wait_until("bob is told", SOON, || has_event(&bob, "clock-two-faced"));
    assert!(bob.log().contains("eve has signed two times that contradict each other"));

    // The proof needs nobody's word: whoever has the network's root finds the same in it, also when
    // eve is out since, and a stranger finds nothing.
    let proof = |network: &Network, node: &str| {
        let said = network.peer(&format!("evidence {node}.bundle --json")).ended(0);
        (!said.out.is_empty()).then(|| said.json())
    };
    wait_until("the proof is kept", SOON, || proof(&network, "bob").is_some());
    let found = proof(&network, "bob").unwrap();
    assert_eq!(
        (&found["shows"], &found["statements"][0]["node"]),
        (&"two-times".into(), &"eve".into())
    );
    let shown = bob.ask("evidence", &[]).ended(0);
    assert!(shown.out.contains("two-times"), "{}", shown.out);
    network.ca("revoke eve --reason key-compromise");
    let file = network.path().join(found["file"].as_str().unwrap());
    let _ = network.enroll("dave");
    let bring = |network: &Network, node: &str| {
        let folder = network.bundle(node).join("evidence");
        std::fs::create_dir(&folder).unwrap();
        let _ = std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    };
    bring(&network, "dave");
    assert_eq!(proof(&network, "dave").unwrap()["shows"], "two-times");
    let elsewhere = Network::with(&["mallory"]);
    bring(&elsewhere, "mallory");
    assert_eq!(proof(&elsewhere, "mallory").unwrap()["shows"], "nothing");
}

/// Four peers, nobody who knows the world's time, and one whose machine is a minute ahead: it takes
/// the time of the others, and they do not go with it.
#[test]
fn a_mesh_without_roots_keeps_one_clock_and_says_that_it_is_isolated() {
    let names = ["alice", "bob", "carol", "dave"];
    let network = Network::with(&names);
    let Some(ahead) = shifted("+60s") else { return };
    let mut peers: Vec<Peer> = Vec::new();
    for name in names {
        let known: Vec<(String, String)> =
            peers.iter().map(|peer| (peer.node().to_owned(), peer.address().to_owned())).collect();
        let wrapped: &[String] = if name == "dave" { &ahead } else { &[] };
        let mut words = ["--no-lan", "--time", "127.0.0.1:0"].map(str::to_owned).to_vec();
        for (node, address) in known {
            words.extend(["--peer".to_owned(), format!("{node}={address}")]);
        }
        peers.push(Peer::start_as(wrapped, &network.bundle(name), "127.0.0.1:0", &words));
    }
    let whole = "isolated, mesh time of 4 peers";
    for peer in &peers {
        wait_until(&format!("{} is of the mesh", peer.node()), GATHERED, || {
            status(peer)["says"] == whole
        });
        assert!(has_event(peer, "isolated"), "{}", status(peer));
        assert!(!has_event(peer, "no-majority"), "there is no root to be for or against");
    }
    // What each shows against the one count that they all have, with the time that asking takes.
    let apart_ns = || {
        let shown = peers.iter().map(|peer| {
            let count_ns = i64::try_from(host::clock::count_ns()).unwrap();
            status(peer)["utc_ns"].as_i64().unwrap() - count_ns
        });
        let shown: Vec<i64> = shown.collect();
        shown.iter().max().unwrap() - shown.iter().min().unwrap()
    };
    wait_until("all show one time", GATHERED, || apart_ns() < S / 5);
    let ahead_ns = -off_ns(&peers[0]);
    assert!(ahead_ns.abs() < S, "the three did not follow the one: {ahead_ns}");
    assert!((-off_ns(&peers[3]) - 60 * S).abs() < S, "and the one follows them");
    assert!(has_event(&peers[3], "clock-step"), "{}", status(&peers[3]));
}
