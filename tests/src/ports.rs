//! Ports for programs that cannot be told to take any and say which.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports that no system gives to whoever asks for any: else somebody who dials has one of them
/// while a program is down, or whoever dials the program has its port and reaches itself.
const PORTS: std::ops::Range<u32> = 20_000..30_000;

/// A port that nobody has on any address, by TCP or UDP; another at each call.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Tests of another process, beside this one, begin elsewhere.
    let first = std::process::id().wrapping_mul(131);
    for _ in PORTS {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + first.wrapping_add(call) % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).unwrap();
        let everywhere = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(everywhere).is_ok() && UdpSocket::bind(everywhere).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}
