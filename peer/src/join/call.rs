//! A connection to the authority's door: TLS to a pin or to a member, then HTTP/1.1, all bounded.
//!
//! **Invariant:** no request leaves before the other side's chain was judged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use shared::id::SpkiHash;
use shared::join::{EXPORTER_LABEL, Exporter, Failure, MEDIA_TYPE};
use shared::name::{NetworkName, NodeName};
use shared::refusal::Refusal;
use tls::{Pinned, Verdict};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::limits::{CONNECT, DOOR_ANSWER, HANDSHAKE};

/// Why there is no answer. Whose fault: the network's, or of whoever is at the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody answers.
    #[error("{address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
    /// Somebody answers who is not the authority.
    #[error("{address}: not the authority: {refusal}")]
    Foreign {
        /// Where.
        address: String,
        /// Why not.
        refusal: Refusal,
    },
    /// The connection ended, or what came is no answer.
    #[error("{address}: {why}")]
    Broken {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
}

/// An open connection.
pub(super) struct Call {
    sender: SendRequest<Full<Bytes>>,
    /// Where it leads.
    pub(super) address: String,
    /// What only its two ends can compute.
    pub(super) exporter: Exporter,
}

impl Call {
    /// Connects to the authority whose root has this key.
    pub(super) async fn pinned(
        address: &str,
        network: &NetworkName,
        pin: SpkiHash,
    ) -> Result<(Self, Pinned), CallError> {
        let clock: tls::Clock = Arc::new(host::clock::wall);
        let configured = tls::pinned_config(network, pin, clock);
        let (config, verdict) = configured.map_err(|error| unreachable(address, &error))?;
        Self::open(address, config, verdict).await
    }

    /// Connects to the authority as the member we are, or were.
    pub(super) async fn as_member(
        address: &str,
        dialler: &tls::Dialler,
    ) -> Result<Self, CallError> {
        let configured = dialler.config_for(Some(NodeName::authority()), tls::ALPN_HTTP);
        let (config, verdict) = configured.map_err(|error| unreachable(address, &error))?;
        Ok(Self::open(address, config, verdict).await?.0)
    }

    async fn open<T>(
        address: &str,
        config: Arc<ClientConfig>,
        verdict: Verdict<T>,
    ) -> Result<(Self, T), CallError> {
        let tcp = within(CONNECT, TcpStream::connect(address)).await;
        let tcp = tcp.map_err(|why| CallError::Unreachable { address: address.to_owned(), why })?;
        let _ = tcp.set_nodelay(true);
        let connector = TlsConnector::from(config);
        let shaken = within(HANDSHAKE, connector.connect(tls::server_name(), tcp)).await;
        let stream = shaken.map_err(|why| match verdict.refusal() {
            Some(refusal) => CallError::Foreign { address: address.to_owned(), refusal },
            None => CallError::Unreachable { address: address.to_owned(), why },
        })?;
        let judged = verdict.take();
        let judged = judged
            .map_err(|refusal| CallError::Foreign { address: address.to_owned(), refusal })?;
        let broken = |why: String| CallError::Broken { address: address.to_owned(), why };
        let mut exporter = [0; 32];
        let (_, connection) = stream.get_ref();
        connection
            .export_keying_material(&mut exporter, EXPORTER_LABEL, None)
            .map_err(|error| broken(error.to_string()))?;
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| broken(error.to_string()))?;
        // It ends when the sender is dropped.
        tokio::spawn(connection);
        Ok((Self { sender, address: address.to_owned(), exporter }, judged))
    }

    /// Asks, and gives the answer or the authority's refusal.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<Result<Bytes, Failure>, CallError> {
        let address = self.address.clone();
        let broken = |why: String| CallError::Broken { address: address.clone(), why };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "authority")
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .body(Full::from(body))
            .map_err(|error| broken(error.to_string()))?;
        let answered = within(DOOR_ANSWER, self.sender.send_request(request)).await;
        let response = answered.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max);
        let collected = tokio::time::timeout(DOOR_ANSWER, body.collect()).await;
        let late = |_| broken("no answer in time".to_owned());
        let bytes = collected.map_err(late)?.map_err(|e| broken(e.to_string()))?.to_bytes();
        if status == StatusCode::OK {
            return Ok(Ok(bytes));
        }
        let failure = Failure::from_bytes(&bytes);
        let nonsense = || broken(format!("it answers with HTTP status {}", status.as_u16()));
        failure.map(Err).ok_or_else(nonsense)
    }
}

fn unreachable(address: &str, error: &tls::TlsError) -> CallError {
    CallError::Unreachable { address: address.to_owned(), why: error.to_string() }
}

/// Waits for something that may fail, or for the time to pass.
async fn within<T, E: std::fmt::Display>(
    limit: Duration,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, future).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
