//! TCP connections: from any port, or from the port that we listen on.
//!
//! A NAT maps the port a connection comes from. Only from the listening port does a relay see a
//! mapping that others can use, and only from there can two ends meet by simultaneous open. The
//! listener allows it by SO_REUSEPORT, which it sets after it has bound: a second daemon on the
//! same port is still told that it is taken.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::failure::Failure;
use crate::limits;

/// Lets connections be made from the port of a listener.
///
/// # Errors
/// Those of setsockopt.
pub fn share_port(listener: &TcpListener) -> std::io::Result<()> {
    socket2::SockRef::from(listener).set_reuse_port(true)
}

/// Connects to `HOST:PORT` from any port.
pub(super) async fn connect(address: &str, wait: Duration) -> Result<TcpStream, Failure> {
    connect_from(address, None, wait).await.map(|(tcp, _)| tcp)
}

/// Connects from the listening port if that is possible; says whether it was.
pub(super) async fn connect_from(
    address: &str,
    home: Option<SocketAddr>,
    wait: Duration,
) -> Result<(TcpStream, bool), Failure> {
    timeout(wait, try_all(address, home))
        .await
        .unwrap_or_else(|_| Err(Failure::neither(format!("no answer within {wait:?}"))))
}

async fn try_all(address: &str, home: Option<SocketAddr>) -> Result<(TcpStream, bool), Failure> {
    let found = lookup_host(address).await.map_err(|e| Failure::neither(e.to_string()))?;
    let mut last = Failure::neither("the name has no address");
    for address in found.take(limits::DIAL_ADDRESSES_MAX) {
        if let Some(home) = home {
            match meet(address, home).await {
                Ok(tcp) => return Ok((tcp, true)),
                Err(error) => tracing::debug!(%address, %home, "not from our port: {error}"),
            }
        }
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok((tcp, false)),
            Err(error) => last = Failure::neither(error.to_string()).at(address),
        }
    }
    Err(last)
}

/// Lets a connection from the listening port end without a trace when it is dropped: the next one
/// between the same two ports need not wait for what is left of it.
pub fn hasten(tcp: &TcpStream) {
    // A socket that is gone already leaves nothing.
    let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// Connects from the listening port. Fails at once where a connection between the same two ports
/// exists or lingers.
///
/// # Errors
/// Those of the system.
pub async fn meet(address: SocketAddr, home: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(home)?;
    socket.connect(address).await
}
