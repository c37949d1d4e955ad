//! Somebody at the authority's door: TLS that believes anybody, and HTTP by hand.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use shared::join::{EXPORTER_LABEL, Exporter, Failure, JoinRequest, JoinString};
use tls::ALPN_HTTP;

use crate::adversary::Credentials;
use crate::{pipe, raw};

/// How long one waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status; 0 if none came.
    pub status: u16,
    /// What came with it.
    pub body: Vec<u8>,
}

impl Answered {
    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        Failure::from_bytes(&self.body).map(|failure| failure.code.to_string())
    }
}

/// A connection to the door.
pub struct Caller {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Caller {
    /// Connects, as nobody.
    ///
    /// # Panics
    /// If it is not let in.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self::from("127.0.0.1", address, None).unwrap()
    }

    /// Connects from an address of this machine, with any certificate. `None` if it is not let in.
    ///
    /// # Panics
    /// If this machine does not have the address.
    #[must_use]
    pub fn from(caller: &str, address: &str, credentials: Option<&Credentials>) -> Option<Self> {
        let socket = pipe::call(caller.parse().unwrap(), address.parse().unwrap())?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut config = raw::permissive(credentials);
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
        let name = ServerName::try_from("authority.mesh.example").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        Some(Self { stream })
    }

    /// What only the two ends of this connection can compute.
    ///
    /// # Panics
    /// If TLS gives none.
    #[must_use]
    pub fn exporter(&self) -> Exporter {
        let connection = &self.stream.conn;
        connection.export_keying_material([0; 32], EXPORTER_LABEL, None).unwrap()
    }

    /// A request to join by a string, with a proof for this connection.
    ///
    /// # Panics
    /// If the string's secret cannot be used.
    #[must_use]
    pub fn request(&self, string: &JoinString, csr: &[u8]) -> JoinRequest {
        let key = string.secret.proof_key().unwrap();
        let proof = key.prove_request(&self.exporter(), csr);
        JoinRequest { invitation: string.secret.id().unwrap(), csr: csr.to_vec(), proof }
    }

    /// Sends octets as they are; whoever has hung up is found out by reading.
    pub fn say(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets).and_then(|()| self.stream.flush());
    }

    /// Asks and hears the answer.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Answered {
        let length = body.len();
        self.say(
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
                .as_bytes(),
        );
        self.say(body);
        self.answer()
    }

    /// Asks for something and hears the answer.
    pub fn get(&mut self, path: &str) -> Answered {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        self.answer()
    }

    /// Hears one answer.
    pub fn answer(&mut self) -> Answered {
        let mut heard = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(answered) = whole(&heard) {
                return answered;
            }
            match self.stream.read(&mut piece) {
                Ok(length) if length > 0 => heard.extend_from_slice(&piece[..length]),
                _ => return Answered { status: 0, body: heard },
            }
        }
    }
}

/// An answer, once all of it is there.
fn whole(heard: &[u8]) -> Option<Answered> {
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&heard[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    let body = heard.get(end + 4..end + 4 + length)?.to_vec();
    Some(Answered { status, body })
}
