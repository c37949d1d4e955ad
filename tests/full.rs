//! A full disk, at the authority or at the machine: refused, nothing half done, and well again once
//! there is room. Needs root, for a small disk of its own; skipped by name without.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::programs::Said;
use tests::{Machine, Network, Online, programs};

/// A small disk in memory; unmounted with this value.
struct Disk {
    place: tempfile::TempDir,
}

impl Disk {
    /// One of so many kB; `None` without the right to make one.
    fn of(kb: usize) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let size = format!("size={kb}k,mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "conclave"])
            .arg(place.path())
            .output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self { place })
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    /// Leaves no more than so many octets.
    fn fill(&self, but: u64) -> PathBuf {
        let ballast = self.path().join("ballast");
        let mut file = OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
        for size in [64 * 1024, 4096, 512, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(but)).unwrap();
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.place.path()).status();
    }
}

fn skipped() {
    #[allow(clippy::print_stderr, reason = "what is skipped is named")]
    {
        eprintln!("skipped: a full disk needs root");
    }
}

fn ca(folder: &Path, line: &str) -> Said {
    programs::run("ca-tool", folder, line)
}

#[test]
fn an_authority_without_room_refuses_and_goes_on_when_there_is_some() {
    let Some(disk) = Disk::of(24 * 1024) else { return skipped() };
    let _ = ca(disk.path(), "init mesh.example --no-encrypt").ended(0);
    let _ = ca(disk.path(), "enroll alice --out alice.bundle").ended(0);
    let mut online = Online::serve(disk.path(), &tests::online::place_of_its_own(), &[]);
    online.may_err();
    let strings: Vec<String> = (0..40).map(|at| online.invite(&format!("n{at}"))).collect();
    let ballast = disk.fill(0);
    // What is in the store's file already may do for some; not for forty.
    let machines: Vec<Machine> = strings.iter().map(|_| Machine::new()).collect();
    let mut refused = None;
    for (at, (machine, string)) in machines.iter().zip(&strings).enumerate() {
        let joining = machine.begin(string);
        let said = joining.end(std::time::Duration::from_secs(40));
        if said.code != 0 {
            refused = Some((at, said));
            break;
        }
    }
    let Some((at, said)) = refused else { panic!("forty nodes without room") };
    // It does not go on without knowing what is on the disk, and the machine sees one or the other.
    assert!(said.err.contains("hint: type the same command again"), "{said:?}");
    assert!(!machines[at].bundle(&format!("n{at}")).exists());
    online.wait_ended(1);
    assert!(online.log().contains("make room on the disk"), "{}", online.log());
    std::fs::remove_file(ballast).unwrap();
    let mut online = Online::serve(disk.path(), online.address(), &[]);
    let _ = machines[at].join(&strings[at]).ended(0);
    let _ = ca(disk.path(), "log --verify").ended(0);
    online.terminate();
    let _ = ca(disk.path(), "log --verify").ended(0);
    let said = ca(disk.path(), "doctor");
    assert!(!said.out.contains("WRONG"), "{said:?}");
}

#[test]
fn a_machine_without_room_keeps_its_string() {
    let Some(disk) = Disk::of(256) else { return skipped() };
    let network = Network::new();
    let online = Online::start(&network);
    // No room at all, for the key alone, and for some of the bundle.
    for (turn, but) in [0, 4096, 16 * 1024].into_iter().enumerate() {
        let node = format!("n{turn}");
        let string = online.invite(&node);
        let join = || {
            let args = ["join", string.as_str(), "--no-run"];
            programs::run_args("peer", disk.path(), &args)
        };
        let ballast = disk.fill(but);
        let said = join().ended(1);
        assert!(said.err.contains("No space left") || said.err.contains("full"), "{said:?}");
        let bundle = disk.path().join(format!("{node}.bundle"));
        assert!(!bundle.exists(), "{said:?}");
        std::fs::remove_file(ballast).unwrap();
        let _ = join().ended(0);
        assert!(bundle.join("node.yaml").is_file());
        let log = network.ca("log --json").json();
        let made = log.as_array().unwrap().iter();
        let made = made.filter(|r| r["act"] == "join" && r["subject"] == node.as_str()).count();
        assert_eq!(made, 1, "one certificate for {node}");
        std::fs::remove_dir_all(bundle).unwrap();
    }
}
