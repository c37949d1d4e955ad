//! The client's side of the key exchange (RFC 8915 §4), with a server outside or with a member.
//!
//! **Invariant:** no exchange outlasts its bounds, and cookies come from nobody whose certificate
//! was not judged.

use std::net::SocketAddr;
use std::sync::Arc;

use nts::records::{Grant, Reader, request};
use nts::{Key, Keys, export};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use shared::verify::{Member, Verified};
use tls::Verdict;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Keyed, Papers};
use crate::config::{NTP_PORT, Source, Way};
use crate::limits::{HANDSHAKE, TIME_EXCHANGE};
use crate::link::{dial_plain, failure_of};

/// Octets asked of TLS at once: a whole answer has a third of it.
const READ_BYTES: usize = 4096;

/// Exchanges keys with a source.
///
/// # Errors
/// What was wrong, for people.
pub(super) async fn exchange(source: &Source, papers: &Papers) -> Result<Keyed, String> {
    if let Way::Linked(node) = &source.way {
        let links = papers.links.as_ref().ok_or("no peer runs here that has links")?;
        return links.exchange(node).await;
    }
    let tcp = dial_plain(&source.address).await.map_err(|failure| failure.detail)?;
    let there = tcp.peer_addr().map_err(|error| error.to_string())?;
    let (mut stream, member) = match &source.way {
        Way::Member(node) => {
            let dialler = papers.dialler.as_ref().ok_or("no bundle to show a certificate of")?;
            let cold = papers.shown.as_ref().and_then(|shown| shown.cold());
            let config = match cold {
                Some(floor) => dialler.cold_config(node.clone(), export::ALPN, floor),
                None => dialler.config_for(Some(node.clone()), export::ALPN),
            };
            let (config, verdict) = config.map_err(|error| error.to_string())?;
            shake_as_member(tcp, config, verdict).await?
        }
        Way::Plain | Way::System | Way::Outside { .. } | Way::Linked(_) => {
            let dates = Arc::clone(&papers.dates);
            let config = tls::anonymous_config(&papers.roots, export::ALPN, dates);
            let config = config.map_err(|error| error.to_string())?;
            let name = server_name(&source.address)?;
            (shake(tcp, config, name).await.map_err(|error| said(&error))?, None)
        }
    };
    let talking = timeout(TIME_EXCHANGE, talk(&mut stream));
    let grant = talking.await.map_err(|_| "no keys came in time".to_owned())??;
    let (_, connection) = stream.get_ref();
    let keys = Keys {
        c2s: key(connection, &export::C2S).ok_or("TLS gave no key")?,
        s2c: key(connection, &export::S2C).ok_or("TLS gave no key")?,
    };
    let port = grant.agreed.port.unwrap_or(NTP_PORT);
    let to = match &grant.agreed.server {
        Some(server) => lookup((server.as_str(), port)).await?,
        None => SocketAddr::new(there.ip(), port),
    };
    Ok(Keyed { keys, cookies: grant.cookies, to, member })
}

/// The first address of `HOST:PORT`.
///
/// # Errors
/// What the resolver says.
pub(super) async fn resolve(address: &str) -> Result<SocketAddr, String> {
    lookup(address).await
}

async fn lookup(host: impl tokio::net::ToSocketAddrs) -> Result<SocketAddr, String> {
    let found = timeout(TIME_EXCHANGE, lookup_host(host)).await;
    let mut found = found
        .map_err(|_| "the name was not resolved in time")?
        .map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

async fn shake_as_member(
    tcp: TcpStream,
    config: Arc<ClientConfig>,
    verdict: Verdict,
) -> Result<(TlsStream<TcpStream>, Option<Verified<Member>>), String> {
    match shake(tcp, config, tls::server_name()).await {
        Ok(stream) => {
            let member = verdict.take().map_err(|why| format!("{}: {}", why.code, why.detail))?;
            Ok((stream, Some(member)))
        }
        Err(error) => Err(verdict
            .refusal()
            .map_or_else(|| said(&error), |why| format!("{}: {}", why.code, why.detail))),
    }
}

async fn shake(
    tcp: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let shaking = TlsConnector::from(config).connect(name, tcp);
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no handshake in time");
    let stream = timeout(HANDSHAKE, shaking).await.map_err(|_| late())??;
    let agreed = stream.get_ref().1.alpn_protocol() == Some(export::ALPN);
    let other = || std::io::Error::other("it does not exchange keys of NTS");
    if agreed { Ok(stream) } else { Err(other()) }
}

fn said(error: &std::io::Error) -> String {
    let failure = failure_of(error);
    failure.code.map_or(failure.detail, |code| format!("it refuses our certificate: {code}"))
}

async fn talk(stream: &mut TlsStream<TcpStream>) -> Result<Grant, String> {
    stream.write_all(&request()).await.map_err(|error| said(&error))?;
    stream.flush().await.map_err(|error| said(&error))?;
    let (mut reader, mut room) = (Reader::default(), [0; READ_BYTES]);
    loop {
        let len = stream.read(&mut room).await.map_err(|error| said(&error))?;
        let octets = room.get(..len).unwrap_or_default();
        if len == 0 || reader.take(octets).map_err(|error| error.to_string())? {
            break;
        }
    }
    Grant::read(&reader).map_err(|error| error.to_string())
}

fn key(connection: &ClientConnection, context: &[u8]) -> Option<Key> {
    let exported = connection.export_keying_material([0; 32], export::LABEL, Some(context));
    exported.ok().map(Key::new)
}

fn server_name(address: &str) -> Result<ServerName<'static>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|error| error.to_string())
}
