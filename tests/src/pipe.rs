//! A wire between a caller and somebody who listens: it carries octets, counts them, and calls from
//! elsewhere.
//!
//! What runs over it is TLS, so it reads nothing; but it can be cut at any octet, and whoever is
//! called sees the wire's own address.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::net::{AddressFamily, SocketType};

/// What a wire has carried of all calls, in pieces as they came.
#[derive(Default)]
struct Carried {
    pieces: AtomicU64,
    /// Nothing of what callers say, or of what they are answered, is carried now.
    held: AtomicBool,
    answers_held: AtomicBool,
    /// How many pieces have come.
    come: AtomicU64,
    taped: Mutex<Vec<u8>>,
    calls: Mutex<Vec<[TcpStream; 2]>>,
}

/// A wire; it is cut with this value.
pub struct Pipe {
    address: String,
    carried: Arc<Carried>,
    stop: Arc<AtomicBool>,
}

impl Pipe {
    /// A wire to an address that ends nowhere special.
    #[must_use]
    pub fn to(target: &str) -> Self {
        Self::from(target, "127.0.0.1")
    }

    /// A wire to an address; who is called there sees this one as the caller's.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn from(target: &str, caller: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (target, caller) = (target.parse().unwrap(), caller.parse().unwrap());
        let (carried, stop) = (Arc::new(Carried::default()), Arc::new(AtomicBool::new(false)));
        let (kept, stopped) = (Arc::clone(&carried), Arc::clone(&stop));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // Nobody there: the caller sees its call end.
                let Some(far) = call(caller, target) else { continue };
                carry(&near, &far, &kept);
            }
        });
        Self { address, carried, stop }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many pieces it has carried, in both directions.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        self.carried.pieces.load(Ordering::Relaxed)
    }

    /// Carries nothing that callers say, until [`Pipe::let_go`].
    pub fn hold(&self) {
        self.carried.held.store(true, Ordering::Relaxed);
    }

    /// Carries nothing that callers are answered, until [`Pipe::let_go`].
    pub fn hold_answers(&self) {
        self.carried.answers_held.store(true, Ordering::Relaxed);
    }

    /// Carries what waits.
    pub fn let_go(&self) {
        self.carried.held.store(false, Ordering::Relaxed);
        self.carried.answers_held.store(false, Ordering::Relaxed);
    }

    /// Breaks all calls there are: what waits on them is lost.
    ///
    /// # Panics
    /// If a thread of it died.
    pub fn cut(&self) {
        for [near, far] in self.carried.calls.lock().unwrap().drain(..) {
            let _ = (near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both));
        }
    }

    /// How many pieces have come, carried or not.
    #[must_use]
    pub fn come(&self) -> u64 {
        self.carried.come.load(Ordering::Relaxed)
    }

    /// Everything that was on it.
    ///
    /// # Panics
    /// If a thread of it died.
    #[must_use]
    pub fn tape(&self) -> Vec<u8> {
        self.carried.taped.lock().unwrap().clone()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread, which then sees the flag.
        let _ = TcpStream::connect(&self.address);
    }
}

/// Calls an address from another.
///
/// # Panics
/// If this machine does not have the caller's address.
#[must_use]
pub fn call(caller: IpAddr, target: SocketAddr) -> Option<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(caller, 0)).unwrap();
    rustix::net::connect(&socket, &target).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    Some(stream)
}

/// What holds one direction.
type Held = fn(&Carried) -> &AtomicBool;

fn carry(near: &TcpStream, far: &TcpStream, carried: &Arc<Carried>) {
    let _ = near.set_nodelay(true);
    let call = [near.try_clone().unwrap(), far.try_clone().unwrap()];
    carried.calls.lock().unwrap().push(call);
    let (said, answered): (Held, Held) = (|wire| &wire.held, |wire| &wire.answers_held);
    for (from, to, held) in [(near, far, said), (far, near, answered)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let carried = Arc::clone(carried);
        std::thread::spawn(move || {
            let mut piece = [0; 16 * 1024];
            while let Ok(length) = from.read(&mut piece) {
                carried.come.fetch_add(1, Ordering::Relaxed);
                while held(&carried).load(Ordering::Relaxed) {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                carried.taped.lock().unwrap().extend_from_slice(&piece[..length]);
                if length == 0 || to.write_all(&piece[..length]).is_err() {
                    break;
                }
                carried.pieces.fetch_add(1, Ordering::Relaxed);
            }
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
}
