//! The program as people use it: what it prints, how it ends, and what it says when it is asked
//! for what it may not do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to stop")]

use std::path::Path;
use std::process::{Command, Output};

struct Place(tempfile::TempDir);

impl Place {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn new() -> Self {
        let place = Self::empty();
        place.done("init mesh.example --no-encrypt");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ca-tool"))
            .args(line.split(' '))
            .current_dir(self.path())
            .env_remove("CONCLAVE_PKI")
            .env_remove("CONCLAVE_PASSPHRASE")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    }

    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn ends(&self, code: i32, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(code), "{line}: {}", text(&output.stderr));
        text(&output.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn from_nothing_to_a_revoked_node() {
    let place = Place::new();
    let said = place.done("enroll alice --out alice.bundle");
    assert!(
        said.starts_with("alice enrolled, until ") && said.ends_with(": peer run alice.bundle\n")
    );
    place.done("enroll bob --out bob.bundle --peer alice=127.0.0.1:7400 --groups a,b");
    let said = place.done("revoke bob --reason key-compromise");
    assert!(said.starts_with("bob revoked (key-compromise), feed number 1\nno peer was reached"));
    let said = place.done("revoke bob");
    assert!(said.starts_with("bob was revoked (key-compromise) already"), "{said}");
    let list = place.done("list");
    assert!(list.contains("revoked (key-compromise)") && !list.contains("authority"), "{list}");
    place.done("suspend alice");
    assert!(place.ends(3, "renew alice --out alice.bundle").contains("hint: ca-tool resume alice"));
    place.done("resume alice");
    place.done("renew alice --out alice.bundle --new-key");
    assert!(place.done("log --verify").starts_with("the log is whole"));
    assert!(!place.done("doctor").contains("WRONG"));
    place.done("crl --out crl.pem");
    let asked = "verify --roots alice.bundle/trust.pem --crls crl.pem --usage client";
    place.done(&format!("{asked} --leaf alice.bundle/id/node.crt --name alice.mesh.example"));
    place.ends(3, &format!("{asked} --leaf bob.bundle/id/node.crt --name bob"));
    place.done("lint alice.bundle/id/node.crt");
    place.ends(3, "lint alice.bundle/node.yaml");
    place.done("feed export --out mesh.feed");
    place.done("publish");
}

#[test]
fn a_bundle_is_whole_and_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.done("enroll alice --out alice.bundle --listen 0.0.0.0:7400 --algorithm ed25519");
    let mode = |name: &str| {
        let about = place.path().join("alice.bundle").join(name).metadata().unwrap();
        about.permissions().mode() & 0o777
    };
    for (name, wanted) in
        [("", 0o700), ("id", 0o700), ("inbox", 0o700), ("id/node.key", 0o600), ("feed", 0o644)]
    {
        assert_eq!(mode(name) & 0o077, wanted & 0o077, "{name}");
    }
    let yaml = std::fs::read_to_string(place.path().join("alice.bundle/node.yaml")).unwrap();
    for line in ["network: mesh.example", "node: alice", "listen: \"0.0.0.0:7400\""] {
        assert!(yaml.contains(line), "{yaml}");
    }
}

#[test]
fn what_may_not_be_is_said_with_a_hint() {
    let place = Place::empty();
    assert!(place.ends(1, "list").contains("hint: make one: ca-tool init"));
    assert!(place.ends(1, "init mesh.example").contains("--no-encrypt"));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
    place.done("init mesh.example --no-encrypt");
    assert!(place.ends(1, "init mesh.example --no-encrypt").contains("exists already"));
    place.ends(2, "enroll Alice --out a");
    place.ends(2, "frobnicate");
    assert!(place.ends(3, "enroll authority --out a").contains("reserved"));
    assert!(place.ends(3, "enroll a --out a --ttl 1m").contains("hint: choose a --ttl"));
    assert!(place.ends(3, "enroll a --out a --dns a.other.example").contains("mesh.example"));
    place.done("enroll a --out a.bundle");
    assert!(place.ends(1, "enroll a --out b.bundle").contains("hint: ca-tool renew a"));
    assert!(place.ends(1, "enroll b --out a.bundle").contains("nothing was overwritten"));
    assert!(place.ends(1, "revoke nobody").contains("hint: see who is: ca-tool list"));
    assert!(place.ends(1, "resume a").contains("not suspended"));
    std::fs::write(place.path().join("no.csr"), "no request").unwrap();
    assert!(place.ends(3, "enroll c --csr no.csr --out c.crt").contains("hint: make a request"));
    assert!(place.ends(1, "enroll c --csr none.csr --out c.crt").contains("does not exist"));
    place.ends(2, "renew a --new-key --out no.csr");
    place.done("renew a --new-key --out a.found");
    assert!(place.path().join("a.found/id/node.key").is_file(), "a lost bundle is made anew");
    place.done("enroll d --out d.bundle");
    assert!(place.ends(1, "renew a --out d.bundle").contains("is the bundle of d"));
    assert!(place.ends(1, "renew a --out pki").contains("not a bundle"));
}

#[test]
fn a_loose_mode_is_refused_with_the_command_that_mends_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let key = place.path().join("pki/state/issuing/issuing.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = place.ends(1, "enroll a --out a.bundle");
    assert!(said.contains("hint: chmod 600"), "{said}");
    assert!(place.ends(1, "doctor").contains("1 things are wrong"));
}

#[test]
fn every_listing_is_json_when_asked() {
    let place = Place::new();
    place.done("enroll a --out a.bundle");
    let crypt = place.done("suspend a --json");
    let value: serde_json::Value = serde_json::from_str(&crypt).unwrap();
    assert_eq!((&value["number"], &value["publish"]["via"]), (&1.into(), &serde_json::Value::Null));
    for line in ["list", "show a", "log", "doctor", "resume a", "publish", "renew a --out a.bundle"]
    {
        let said = place.done(&format!("{line} --json"));
        assert_eq!(said.lines().count(), 1, "{line}");
        serde_json::from_str::<serde_json::Value>(&said).unwrap();
    }
}

#[test]
fn programs_at_once_wait_for_each_other() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let place = &place;
            scope.spawn(move || place.done(&format!("enroll n{n} --out n{n}.bundle")));
        }
    });
    let list = place.done("list --json");
    let nodes: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(nodes.len(), 6);
    assert!(place.done("log --verify").contains("8 records"));
}

#[test]
fn a_policy_is_pushed_once_and_only_when_its_tests_pass() {
    let place = Place::new();
    let policy = place.done("policy show") + "tests:\n  - {from: {node: bob}, to: {node: alice}, ";
    let write = |name: &str, rest: &str| {
        let (head, grants) = policy.split_once("allow: [").unwrap();
        let (_, tail) = grants.split_once("]\n").unwrap();
        let changed = format!("{head}allow: [connect, send]\n{tail}");
        std::fs::write(place.path().join(name), changed + rest).unwrap();
    };
    write("good.yaml", "action: send, expect: allowed}\n");
    write("bad.yaml", "action: send, expect: denied}\n");
    for verb in ["check", "push"] {
        let said = place.ends(1, &format!("policy {verb} bad.yaml"));
        assert!(said.contains("came allowed by rule members-may-talk"), "{said}");
    }
    assert!(text(&place.run("policy test bad.yaml").stdout).contains("FAILED"));
    assert!(place.done("policy show").starts_with("# the built-in policy"));
    assert!(place.done("policy push good.yaml").starts_with("policy 1 signed: 1 rule, 0 quotas\n"));
    assert!(place.ends(1, "policy push good.yaml").contains("nothing to do"));
    assert!(place.done("policy show").contains("allow: [connect, send]\n"));
    let shown: serde_json::Value = serde_json::from_str(&place.done("policy show --json")).unwrap();
    assert_eq!((&shown["number"], &shown["rules"][0]["from"]), (&1.into(), &"any".into()));
    assert!(place.done("log --verify").contains("whole"));
}
