//! Where a daemon listens, and whom it lets in from there; a node behind a firewall may listen
//! nowhere, and is then reached through the relays that it is linked with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use host::fault::Fault;
use tokio::net::{TcpListener, TcpSocket};

use super::connection::Connector;
use crate::config::NOWHERE;
use crate::link;

/// Connections that wait to be accepted; a flood fills it, and a member's attempt then costs a
/// second.
const BACKLOG: u32 = 1024;

/// Takes the port; for "none" there is no listener and the address is `0.0.0.0:0`.
pub(super) async fn bind(address: &str) -> Result<(Option<TcpListener>, SocketAddr), Fault> {
    if address == NOWHERE {
        return Ok((None, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))));
    }
    let (tcp, listening) = take(address).await?;
    if let Err(error) = link::share_port(&tcp) {
        tracing::warn!("connections cannot be made from the port that we listen on: {error}");
    }
    Ok((Some(tcp), listening))
}

/// How it is told: `none` if nowhere.
pub(super) fn told(listening: SocketAddr) -> String {
    if listening.port() == 0 { NOWHERE.to_owned() } else { listening.to_string() }
}

async fn take(address: &str) -> Result<(TcpListener, SocketAddr), Fault> {
    let taken = |error: std::io::Error| {
        Fault::failed(format!("cannot listen on {address}: {error}"))
            .hint("choose another with `--listen HOST:PORT`, or port 0 for any free one")
    };
    let place = tokio::net::lookup_host(address).await.map_err(taken)?.next();
    let place = place.ok_or_else(|| taken(std::io::ErrorKind::NotFound.into()))?;
    let socket = if place.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(taken)?;
    // A restarted daemon takes its port back although old connections linger on it.
    socket.set_reuseaddr(true).map_err(taken)?;
    socket.bind(place).map_err(taken)?;
    let tcp = socket.listen(BACKLOG).map_err(taken)?;
    let listening = tcp.local_addr().map_err(taken)?;
    Ok((tcp, listening))
}

/// Lets connections in until it is aborted.
pub(super) async fn accept(tcp: TcpListener, connector: Arc<Connector>) {
    loop {
        match tcp.accept().await {
            Ok((stream, remote)) => {
                let Some(stream) = connector.meeting.hand_over(stream, remote) else { continue };
                if let Some(pass) = connector.enter(remote) {
                    tokio::spawn(Arc::clone(&connector).accept(stream, remote, pass));
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: those there are will come free.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
