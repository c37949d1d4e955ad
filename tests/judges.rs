//! Third-party judges agree: OpenSSL, GnuTLS, NSS and Python's cryptography accept what we issue,
//! and see our revocations in the CRL.
//!
//! A judge that is not installed is skipped by name, unless `CONCLAVE_JUDGES=required` says that it
//! must be there, as CI does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tests::Network;
use tests::judge::{absent, judge};

fn run(program: &Path, folder: &Path, line: &str) -> (bool, String) {
    let output: Output = Command::new(program)
        .args(line.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// alice is good, bob is revoked; their certificates apart, and the CRL as PEM.
fn case(algorithm: &str) -> Network {
    let network = Network::of("mesh.example", algorithm);
    let _ = (network.enroll("alice"), network.enroll("bob"));
    network.ca("revoke bob --reason key-compromise");
    network.ca("crl --out crl.pem");
    for node in ["alice", "bob"] {
        let chain = std::fs::read_to_string(network.bundle(node).join("id/node.crt")).unwrap();
        let end = "-----END CERTIFICATE-----\n";
        let (leaf, issuing) = chain.split_once(end).unwrap();
        std::fs::write(network.path().join(format!("{node}.crt")), format!("{leaf}{end}")).unwrap();
        std::fs::write(network.path().join("issuing.crt"), issuing).unwrap();
    }
    let trust = std::fs::read(network.bundle("alice").join("trust.pem")).unwrap();
    std::fs::write(network.path().join("root.pem"), trust).unwrap();
    network
}

#[test]
fn openssl_verifies_the_chain_and_the_crl() {
    let Some(openssl) = judge(&["openssl"]) else { return };
    for algorithm in ["p256", "ed25519"] {
        let network = case(algorithm);
        let line = "verify -x509_strict -crl_check -CRLfile crl.pem -CAfile root.pem \
                    -untrusted issuing.crt -purpose sslserver";
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let (good, said) = run(&openssl, network.path(), &format!("{line} alice.crt"));
        assert!(good, "{algorithm}: {said}");
        let (good, said) = run(&openssl, network.path(), &format!("{line} bob.crt"));
        assert!(!good && said.contains("revoked"), "{algorithm}: {said}");
        let keys = format!("pkey -in {}", network.bundle("alice").join("id/node.key").display());
        let (good, said) = run(&openssl, network.path(), &format!("{keys} -noout"));
        assert!(good, "{algorithm}: {said}");
    }
}

#[test]
fn an_app_is_a_client_to_every_judge_and_no_server() {
    let network = Network::of("mesh.example", "p256");
    let app = network.app("meter-7", "--groups sensors");
    network.ca("crl --out crl.pem");
    let chain = std::fs::read_to_string(app.join("id/node.crt")).unwrap();
    let (leaf, issuing) = chain.split_once("-----END CERTIFICATE-----\n").unwrap();
    let leaf = format!("{leaf}-----END CERTIFICATE-----\n");
    let put = |name: &str, text: &str| std::fs::write(network.path().join(name), text).unwrap();
    put("app.crt", &leaf);
    put("issuing.crt", issuing);
    std::fs::copy(app.join("trust.pem"), network.path().join("root.pem")).unwrap();
    if let Some(openssl) = judge(&["openssl"]) {
        for (purpose, wanted) in [("sslclient", true), ("sslserver", false)] {
            let line = format!(
                "verify -x509_strict -crl_check -CRLfile crl.pem -CAfile root.pem \
                 -untrusted issuing.crt -purpose {purpose} app.crt"
            );
            let (good, said) = run(&openssl, network.path(), &line);
            assert_eq!(good, wanted, "{purpose}: {said}");
            assert!(good || said.contains("purpose"), "{said}");
        }
    }
    if let Some(certtool) = judge(&["certtool"]) {
        put("app.full", &(leaf + issuing));
        for (purpose, wanted) in [("1.3.6.1.5.5.7.3.2", true), ("1.3.6.1.5.5.7.3.1", false)] {
            let line = format!(
                "--verify --verify-purpose {purpose} --load-ca-certificate root.pem \
                 --infile app.full"
            );
            let (good, said) = run(&certtool, network.path(), &line);
            assert_eq!(good && !said.contains("Not verified"), wanted, "{purpose}: {said}");
        }
    }
    let (Some(vfychain), Some(certutil)) = (judge(&["vfychain"]), judge(&["certutil"])) else {
        return;
    };
    std::fs::create_dir(network.path().join("nss")).unwrap();
    for line in ["-N -d sql:nss --empty-password", "-A -d sql:nss -n root -t CT,C,C -a -i root.pem"]
    {
        let (good, said) = run(&certutil, network.path(), line);
        assert!(good, "{said}");
    }
    for (usage, wanted) in [(0, true), (1, false)] {
        let line = format!("-d sql:nss -u {usage} -a app.crt -a issuing.crt");
        let (good, said) = run(&vfychain, network.path(), &line);
        assert_eq!(good && said.contains("Chain is good"), wanted, "{usage}: {said}");
    }
}

#[test]
fn openssl_s_client_shakes_hands_with_a_peer_and_a_stranger_does_not() {
    let Some(openssl) = judge(&["openssl"]) else { return };
    let network = case("p256");
    let alice = network.start("alice", &[]);
    let _ = network.enroll("carol");
    let base = format!(
        "s_client -connect {} -tls1_3 -alpn conclave/1 -CAfile root.pem -verify_return_error",
        alice.address()
    );
    let member = format!(
        "{base} -cert carol.bundle/id/node.crt -cert_chain carol.bundle/id/node.crt \
         -key carol.bundle/id/node.key"
    );
    let (_, said) = run(&openssl, network.path(), &member);
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    let (_, said) = run(&openssl, network.path(), &base);
    alice.wait_event("no-certificate", "us");
    assert!(!said.contains("conclave-presence"), "{said}");
}

#[test]
fn gnutls_verifies_the_chain_and_the_crl() {
    let Some(certtool) = judge(&["certtool"]) else { return };
    let network = case("p256");
    let read = |name: &str| std::fs::read_to_string(network.path().join(name)).unwrap();
    for (node, wanted) in [("alice", true), ("bob", false)] {
        let chain = read(&format!("{node}.crt")) + &read("issuing.crt") + &read("root.pem");
        std::fs::write(network.path().join("chain.pem"), chain).unwrap();
        let line = "--verify-chain --infile chain.pem";
        let (good, said) = run(&certtool, network.path(), line);
        assert!(good && said.contains("Verified"), "{node}: {said}");
        let line = format!(
            "--verify --load-ca-certificate root.pem --load-crl crl.pem --infile {node}.full"
        );
        let full = read(&format!("{node}.crt")) + &read("issuing.crt");
        std::fs::write(network.path().join(format!("{node}.full")), full).unwrap();
        let (good, said) = run(&certtool, network.path(), &line);
        assert_eq!(good && !said.contains("revoked"), wanted, "{node}: {said}");
    }
}

#[test]
fn nss_verifies_the_chain() {
    let (Some(vfychain), Some(certutil)) = (judge(&["vfychain"]), judge(&["certutil"])) else {
        return;
    };
    let network = case("p256");
    let database = network.path().join("nss");
    std::fs::create_dir(&database).unwrap();
    let (good, said) = run(&certutil, network.path(), "-N -d sql:nss --empty-password");
    assert!(good, "{said}");
    let (good, said) =
        run(&certutil, network.path(), "-A -d sql:nss -n root -t C,C,C -a -i root.pem");
    assert!(good, "{said}");
    let line = "-d sql:nss -u 1 -a alice.crt -a issuing.crt";
    let (good, said) = run(&vfychain, network.path(), line);
    assert!(good && said.contains("Chain is good"), "{said}");
}

/// Checks each signature with the key above it; `cryptography` ≥ 50 knows ML-DSA.
const PYTHON: &str = "
import sys
from cryptography import x509
load = lambda name: x509.load_pem_x509_certificate(open(name, 'rb').read())
leaf, issuing, root = load('alice.crt'), load('issuing.crt'), load('root.pem')
leaf.verify_directly_issued_by(issuing)
issuing.verify_directly_issued_by(root)
root.verify_directly_issued_by(root)
crl = x509.load_pem_x509_crl(open('crl.pem', 'rb').read())
assert crl.is_signature_valid(issuing.public_key())
bob = load('bob.crt')
assert crl.get_revoked_certificate_by_serial_number(bob.serial_number) is not None
assert crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is None
print('verified', leaf.signature_algorithm_oid.dotted_string)
";

#[test]
fn python_verifies_every_algorithm() {
    let python = std::env::var_os("CONCLAVE_PYTHON").map(PathBuf::from);
    let Some(python) = python.or_else(|| judge(&["python3"])) else { return };
    let version = "import cryptography; print(int(cryptography.__version__.split('.')[0]) >= 50)";
    let output = Command::new(&python).args(["-c", version]).output().unwrap();
    if !String::from_utf8_lossy(&output.stdout).contains("True") {
        return absent("Python cryptography >= 50");
    }
    for algorithm in ["p256", "ed25519", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"] {
        let network = case(algorithm);
        let mut command = Command::new(&python);
        let output = command.args(["-c", PYTHON]).current_dir(network.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{algorithm}: {said}");
    }
}
