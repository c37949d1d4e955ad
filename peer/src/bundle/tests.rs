//! Bundles that are taken, and each way to be refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::fixture::{Authority, DAY_S};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn refused(folder: &Path) -> (String, String) {
    let Err(error) = Bundle::open(folder) else { panic!("it opened") };
    (error.to_string(), error.hint().expect("every error has a hint"))
}

#[test]
fn a_whole_bundle_opens_and_its_feed_may_be_absent() {
    let place = tempfile::tempdir().unwrap();
    let folder = Authority::new("mesh.example").bundle(place.path(), "bob");
    let bundle = Bundle::open(&folder).unwrap();
    assert_eq!(bundle.cert.node, bundle.config.node);
    assert!(bundle.feed.head().is_some());
    bundle.save_feed(&bundle.feed).unwrap();
    assert_eq!(Bundle::open(&folder).unwrap().feed.hash(), bundle.feed.hash());
    bundle.reload_identity(host::clock::wall()).unwrap();
    bundle.reload_config().unwrap();
    bundle.reload_trust().unwrap();
    fs::remove_file(folder.join("feed")).unwrap();
    assert!(Bundle::open(&folder).unwrap().feed.head().is_none());
}

#[test]
fn open_modes_are_refused_with_the_chmod_that_mends_them() {
    let place = tempfile::tempdir().unwrap();
    let folder = Authority::new("mesh.example").bundle(place.path(), "bob");
    chmod(&folder, 0o755);
    assert_eq!(refused(&folder).1, format!("chmod 700 {}", folder.display()));
    chmod(&folder, 0o700);
    let key = folder.join("id/node.key");
    chmod(&key, 0o644);
    assert_eq!(refused(&folder).1, format!("chmod 600 {}", key.display()));
}

#[test]
fn a_key_a_certificate_and_a_trust_of_others_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::new("mesh.example");
    let other = Authority::new("mesh.example");
    let (bob, carol) =
        (authority.bundle(place.path(), "bob"), authority.bundle(place.path(), "carol"));
    let cert = fs::read(bob.join("id/node.crt")).unwrap();
    fs::copy(carol.join("id/node.crt"), bob.join("id/node.crt")).unwrap();
    assert!(refused(&bob).0.contains("does not belong to the key"));
    fs::copy(carol.join("id/node.key"), bob.join("id/node.key")).unwrap();
    assert!(refused(&bob).0.contains("is of carol.mesh.example"));
    fs::write(carol.join("trust.pem"), other.trust()).unwrap();
    assert!(refused(&carol).0.contains("foreign-authority"));
    fs::write(carol.join("id/node.crt"), &cert[..cert.len() / 3]).unwrap();
    assert!(refused(&carol).1.contains("ca-tool"));
}

#[test]
fn an_expired_certificate_says_how_to_renew_it() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::new("mesh.example");
    let folder = authority.bundle(place.path(), "bob");
    let Err(error) = Bundle::open_at(&folder, authority.now.plus_s(8 * DAY_S)) else {
        panic!("it opened")
    };
    assert!(error.to_string().contains("expired"), "{error}");
    assert_eq!(error.hint().unwrap(), "ca-tool renew bob");
}

#[test]
fn a_feed_that_is_cut_or_foreign_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = Authority::new("mesh.example").bundle(place.path(), "bob");
    let feed = folder.join("feed");
    let bytes = fs::read(&feed).unwrap();
    for cut in [0, 5, 16, 30, bytes.len() - 1] {
        fs::write(&feed, &bytes[..cut]).unwrap();
        assert!(refused(&folder).1.contains("ca-tool feed export"));
    }
    fs::write(&feed, Authority::new("mesh.example").feed()).unwrap();
    assert!(refused(&folder).0.contains("signed by nobody we trust"));
}

#[test]
fn a_folder_that_is_no_bundle_and_none_at_all() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("empty");
    files::make_private_dir(&folder).unwrap();
    assert!(refused(&folder).0.contains("is not a bundle"));
    assert!(refused(&place.path().join("no")).0.contains("does not exist"));
}

#[test]
fn two_peers_do_not_share_a_bundle() {
    let place = tempfile::tempdir().unwrap();
    let folder = Authority::new("mesh.example").bundle(place.path(), "bob");
    let bundle = Bundle::open(&folder).unwrap();
    let lock = bundle.lock().unwrap();
    let error = bundle.lock().unwrap_err();
    let pid = format!("(pid {}) runs on this bundle", std::process::id());
    assert!(error.to_string().starts_with("another ") && error.to_string().ends_with(&pid));
    assert!(error.hint().unwrap().starts_with("peer stop "));
    drop(lock);
    bundle.lock().unwrap();
}
