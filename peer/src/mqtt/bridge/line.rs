//! The way to an engine: TCP, or TLS under the network's authority, or under other roots.

use std::path::Path;

use host::fault::Fault;
use mqtt::Password;
use mqtt::codec::{ConnAck, Version};
use shared::cert::NodeCert;
use shared::pem;
use shared::verify::Member;
use tls::Dialler;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Bridge;
use crate::limits::{BRIDGE_PASSWORD_BYTES_MAX, BRIDGE_ROOTS_BYTES_MAX, BRIDGE_ROOTS_MAX};
use crate::link::{self, By, Failure, KillSwitch};
use crate::mqtt::{CallError, Caller};

/// A connection, whatever it goes over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection to an engine, before MQTT is spoken on it.
pub(super) struct Line {
    pub(super) stream: Box<dyn Wire>,
    /// Who answers, if it is of our authority, and how to cut it off.
    pub(super) member: Option<(Member, KillSwitch)>,
}

/// What was read for a bridge besides `node.yaml`.
#[derive(Default)]
pub(super) struct Papers {
    /// Roots instead of the network's, DER.
    roots: Option<Vec<Vec<u8>>>,
    pub(super) password: Option<Password>,
}

impl Papers {
    /// Reads the files that a bridge names; a path without a root begins in the bundle.
    pub(super) fn read(bridge: &Bridge, folder: &Path) -> Result<Self, Fault> {
        let mut papers = Self::default();
        if let Some(path) = &bridge.ca {
            let path = folder.join(path);
            let bytes = host::files::read_bounded(&path, BRIDGE_ROOTS_BYTES_MAX)?;
            let wrong = |what: String| Fault::failed(format!("{}: {what}", path.display()));
            let roots = pem::certificates(&bytes, BRIDGE_ROOTS_MAX);
            papers.roots = Some(roots.map_err(|error| wrong(error.to_string()))?);
        }
        if let Some(path) = &bridge.password_file {
            let secret = host::files::read_secret(&folder.join(path), BRIDGE_PASSWORD_BYTES_MAX)?;
            let line = secret.split(|octet| *octet == b'\n').next().unwrap_or_default();
            papers.password = Some(Password(bytes::Bytes::copy_from_slice(line)));
        }
        Ok(papers)
    }

    /// Connects to the engine.
    pub(super) async fn reach(&self, bridge: &Bridge, dialler: &Dialler) -> Result<Line, Failure> {
        let (address, name) = (bridge.url.address(), &bridge.server_name);
        if !bridge.url.tls {
            let tcp = link::dial_plain(&address).await?;
            return Ok(Line { stream: Box::new(tcp), member: None });
        }
        if let Some(roots) = &self.roots {
            let stream = link::dial_foreign(&address, name, roots, dialler).await?;
            return Ok(Line { stream: Box::new(stream), member: None });
        }
        let secured = link::dial_engine(&address, name, dialler).await?;
        let member = Some(((*secured.member).clone(), secured.kill.clone()));
        Ok(Line { stream: Box::new(secured.into_stream()), member })
    }
}

/// Why an engine was not reached, as a sentence about it.
pub(super) fn words(failure: &Failure) -> String {
    match (failure.by, failure.code) {
        (By::Them, Some(code)) => format!("the engine refuses our certificate: {code}"),
        (By::Them, None) => format!("the engine refuses our certificate: {}", failure.detail),
        (By::Us, Some(code)) => format!("the engine is refused: {code}: {}", failure.detail),
        (By::Us | By::Neither, _) => format!("the engine is not reached: {}", failure.detail),
    }
}

/// What somebody wants to know before he has a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which MQTT was agreed on.
    pub version: Version,
    /// The certificate of an engine of our authority.
    pub cert: Option<NodeCert>,
    /// What it says of itself.
    pub ack: ConnAck,
}

/// Connects to an engine once, and says what it said.
///
/// # Errors
/// [`Fault`] with the engine's refusal, or ours.
pub async fn check(bridge: &Bridge, bundle: &crate::bundle::Bundle) -> Result<Checked, Fault> {
    let fault = |error: tls::TlsError| Fault::failed(error.to_string());
    let clock: tls::Clock = std::sync::Arc::new(host::clock::wall);
    let verifier = std::sync::Arc::clone(&bundle.verifier);
    let dialler = Dialler::new(&bundle.identity, verifier, clock).map_err(fault)?;
    let papers = Papers::read(bridge, bundle.paths.folder())?;
    let line = papers.reach(bridge, &dialler).await.map_err(|failure| {
        Fault::refused(words(&failure)).hint("the URL, `ca` and `server-name` say who may answer")
    })?;
    let cert = line.member.map(|(member, _)| NodeCert::clone(&member.cert));
    let terms = bridge.terms(&bundle.config.network, &bundle.config.node, papers.password);
    let (connect, password) = terms.trial();
    let called = Caller::connect_with(line.stream, connect, &password).await;
    let (_, ack) = called.map_err(|error| {
        let what = match error {
            CallError::Refused(reason) => format!("the engine refuses: {reason}"),
            CallError::Io(error) => words(&link::failure_of(&error)),
            other => format!("the engine: {other}"),
        };
        Fault::refused(what).hint("`version: 3.1.1` is for an engine that knows no MQTT 5")
    })?;
    Ok(Checked { version: bridge.version, cert, ack })
}
