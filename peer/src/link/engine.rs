//! Connections to an existing MQTT engine: the same bounds as for a peer, and no greeting.

use rustls::pki_types::ServerName;
use tls::{Dialler, Role};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::connect;
use super::failure::Failure;
use super::handshake::secure_engine;
use super::secured::Secured;
use crate::limits;

/// Connects to `HOST:PORT` and shakes hands with an engine of our own authority that has this name.
///
/// # Errors
/// [`Failure`]; the engine's refusal of us comes with the first read.
pub async fn dial_engine(address: &str, name: &str, dialler: &Dialler) -> Result<Secured, Failure> {
    let config = dialler.engine_config(name).map_err(|e| Failure::neither(e.to_string()))?;
    let called = server_name(name)?;
    secure_engine(dial_plain(address).await?, called, config).await
}

/// The same with an engine whose certificate hangs from one of these roots, DER.
///
/// # Errors
/// [`Failure`].
pub async fn dial_foreign(
    address: &str,
    name: &str,
    roots: &[Vec<u8>],
    dialler: &Dialler,
) -> Result<TlsStream<TcpStream>, Failure> {
    let config = dialler.foreign_config(roots).map_err(|e| Failure::neither(e.to_string()))?;
    let called = server_name(name)?;
    let tcp = dial_plain(address).await?;
    let shaking = TlsConnector::from(config).connect(called, tcp);
    let late = |_| Failure::neither(format!("no handshake within {:?}", limits::HANDSHAKE));
    let shaken = timeout(limits::HANDSHAKE, shaking).await.map_err(late)?;
    shaken.map_err(|error| Failure::of_io(&error, Role::Dialler))
}

/// Connects to `HOST:PORT` without TLS.
///
/// # Errors
/// [`Failure`].
pub async fn dial_plain(address: &str) -> Result<TcpStream, Failure> {
    let tcp = connect(address, limits::CONNECT).await?;
    let wrong = |error: std::io::Error| Failure::neither(error.to_string());
    tcp.set_nodelay(true).map_err(wrong)?;
    socket2::SockRef::from(&tcp).set_keepalive(true).map_err(wrong)?;
    Ok(tcp)
}

/// What an error of a connection that we made means.
#[must_use]
pub fn failure_of(error: &std::io::Error) -> Failure {
    Failure::of_io(error, Role::Dialler)
}

fn server_name(name: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(name.to_owned()).map_err(|error| Failure::neither(error.to_string()))
}
