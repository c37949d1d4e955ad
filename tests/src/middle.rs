//! A man in the middle: ends the TLS of whoever calls, with any certificate and key, and speaks to
//! the authority in the caller's place.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tls::ALPN_HTTP;

use crate::adversary::Credentials;
use crate::caller::Caller;
use crate::raw;

/// How long one side is listened to before the other.
const TURN: Duration = Duration::from_millis(20);
/// How long one conversation lasts at most.
const WHOLE: Duration = Duration::from_secs(20);

/// One; it goes away with this value.
pub struct Middle {
    address: String,
    calls: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
}

impl Middle {
    /// Stands before an authority, as somebody.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn before(authority: &str, credentials: &Credentials) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (calls, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let config = raw::door_config(credentials, ALPN_HTTP);
        let authority = authority.to_owned();
        let (kept, stopped) = (Arc::clone(&calls), Arc::clone(&stop));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let heard = stand(socket, &config, &authority);
                kept.lock().unwrap().push(heard);
            }
        });
        Self { address, calls, stop }
    }

    /// Where it stands.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it understood of each call.
    ///
    /// # Panics
    /// If its thread died.
    #[must_use]
    pub fn calls(&self) -> Vec<Vec<u8>> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Middle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread, which then sees the flag.
        let _ = TcpStream::connect(&self.address);
    }
}

/// What the caller said in the clear, while it was passed on and answered.
fn stand(socket: TcpStream, config: &Arc<ServerConfig>, authority: &str) -> Vec<u8> {
    let mut heard = Vec::new();
    socket.set_read_timeout(Some(WHOLE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut near = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), socket);
    while near.conn.is_handshaking() {
        if near.conn.complete_io(&mut near.sock).is_err() {
            return heard;
        }
    }
    let Some(Caller { stream: mut far }) = Caller::from("127.0.0.1", authority, None) else {
        return heard;
    };
    near.sock.set_read_timeout(Some(TURN)).unwrap();
    far.sock.set_read_timeout(Some(TURN)).unwrap();
    let until = Instant::now() + WHOLE;
    while Instant::now() < until {
        let Some(said) = some(&mut near) else { break };
        heard.extend_from_slice(&said);
        if far.write_all(&said).and_then(|()| far.flush()).is_err() {
            break;
        }
        let Some(answered) = some(&mut far) else { break };
        if near.write_all(&answered).and_then(|()| near.flush()).is_err() {
            break;
        }
    }
    heard
}

/// What there is to read just now; `None` at the end.
fn some(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut piece = vec![0; 16 * 1024];
    match stream.read(&mut piece) {
        Ok(0) => None,
        Ok(length) => {
            piece.truncate(length);
            Some(piece)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Some(Vec::new())
        }
        Err(_) => None,
    }
}
