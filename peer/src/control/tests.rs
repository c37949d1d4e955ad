//! Commands and a daemon over a real socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use host::fault::Fault;
use host::files;
use host::lock::FileLock;
use shared::refusal::Code;

use super::protocol::{Body, Outcome, SendReply};
use super::*;

struct Echo;

impl Handler for Echo {
    async fn handle(&self, request: Request, replies: &mut Replier) -> Result<(), Fault> {
        match request {
            Request::Send { wait_ms, .. } => {
                let outcome = Outcome::Refused { code: Code::Revoked };
                Ok(replies.send(&Reply::Sent(SendReply { outcome, ms: wait_ms })).await?)
            }
            Request::Inbox { follow: true, .. } => std::future::pending().await,
            Request::InboxClear { through } => {
                for count in 0..through {
                    replies.send(&Reply::Cleared { count }).await?;
                }
                Ok(())
            }
            _ => Err(Fault::refused("no").hint("ask otherwise")),
        }
    }
}

/// Serves a folder while the value lives.
struct Serving {
    _runtime: tokio::runtime::Runtime,
}

fn lock(folder: &Path) -> FileLock {
    FileLock::acquire(&folder.join("lock"), Duration::ZERO, |_| {}).unwrap()
}

fn serve(folder: &Path) -> Serving {
    files::make_private_dir(folder).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let held = lock(folder);
    let server = {
        let _inside = runtime.enter();
        Server::bind(folder, &held).unwrap()
    };
    runtime.spawn(async move {
        let _held = held;
        server.run(Arc::new(Echo)).await;
    });
    Serving { _runtime: runtime }
}

fn send() -> Request {
    let to = shared::name::NodeName::parse("alice").unwrap();
    Request::Send { to, body: Body(vec![0xff; 60 * 1024]), wait_ms: 3 }
}

#[test]
fn one_reply_many_and_a_fault() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("b");
    let _serving = serve(&folder);
    let client = Client::new(&folder);
    let outcome = Outcome::Refused { code: Code::Revoked };
    assert_eq!(client.ask_one(&send()).unwrap(), Reply::Sent(SendReply { outcome, ms: 3 }));
    let mut replies = client.ask(&Request::InboxClear { through: 3 }).unwrap();
    let mut count = 0;
    while replies.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
    let fault = client.ask_one(&Request::Status).unwrap_err();
    assert_eq!((fault.exit() as u8, fault.hint_text()), (3, Some("ask otherwise")));
    let mode = std::fs::metadata(folder.join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_long_path_works() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("x".repeat(120)).join("y".repeat(120));
    let _serving = serve(&folder);
    assert!(Client::new(&folder).ask_one(&send()).is_ok());
}

#[test]
fn nobody_there_is_exit_code_4_and_a_dead_ones_socket_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("b");
    files::make_private_dir(&folder).unwrap();
    let asked = || Client::new(&folder).ask_one(&send()).unwrap_err();
    let hint = format!("peer run {}", folder.display());
    assert_eq!((asked().exit() as u8, asked().hint_text()), (4, Some(hint.as_str())));
    drop(std::os::unix::net::UnixListener::bind(folder.join(SOCKET)).unwrap());
    assert_eq!(asked().exit() as u8, 4, "a socket nobody listens on");
    let serving = serve(&folder);
    assert!(Client::new(&folder).ask_one(&send()).is_ok());
    drop(serving);
    assert!(!folder.join(SOCKET).exists());
}

#[test]
fn what_is_no_request_is_refused_within_bounds() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("b");
    let _serving = serve(&folder);
    let long = vec![b'x'; crate::limits::CONTROL_LINE_BYTES_MAX + 1];
    let unknown = br#"{"ask":"fly"}"#.to_vec();
    for bytes in [&b"{}\n"[..], b"\xff\n", &long, &[unknown.as_slice(), b"\n"].concat()] {
        let mut stream = UnixStream::connect(folder.join(SOCKET)).unwrap();
        let _ = stream.write_all(bytes);
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        assert!(said.is_empty() || said.contains(r#""exit":2"#), "{said}");
    }
    assert!(Client::new(&folder).ask_one(&send()).is_ok());
}

#[test]
fn clients_that_leave_make_room_for_others() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("b");
    let _serving = serve(&folder);
    let client = Client::new(&folder);
    let follow = Request::Inbox { after: 0, max: 1, follow: true };
    let followers: Vec<_> =
        (0..crate::limits::CONTROL_CLIENTS_MAX).map(|_| client.ask(&follow).unwrap()).collect();
    drop(followers);
    assert!(client.ask_one(&send()).is_ok());
}
