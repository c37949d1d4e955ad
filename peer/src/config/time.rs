//! The `time:` section of `node.yaml`: whom to ask for the time, and where others ask this node.
//!
//! **Invariant:** without the section a peer asks nobody but the members that offer the time, and
//! tells nobody.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::source::{self, Source, SourceText};

/// Who gets keys for the time at the port of the key exchange.
pub use tls::Clients;

/// The settings of the mesh clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Time {
    /// Whom a person has chosen to be asked.
    pub sources: Vec<Source>,
    /// Where questions about the time are answered, over UDP.
    pub listen: Option<SocketAddr>,
    /// Where programs that are no peers get keys (RFC 8915), over TCP.
    pub ke: Option<SocketAddr>,
    /// What they are shown there who cannot check this node's own certificate.
    pub beside: Option<PairFiles>,
    /// Whether they need a certificate for it.
    pub clients: Clients,
    /// Whether questions without NTS are answered too; nobody can trust such an answer.
    pub plain: bool,
    /// Whether this machine's own clock is told, although nobody confirms it.
    pub local: bool,
}

/// A certificate from outside the network and its key, PEM; a path without a root begins in the
/// bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
}

/// What the command line says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeDoors {
    /// See [`Time::listen`].
    pub listen: Option<SocketAddr>,
    /// See [`Time::ke`].
    pub ke: Option<SocketAddr>,
}

impl Time {
    /// The same with what the command line says in the first place.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn with(self, doors: TimeDoors) -> Result<Self, String> {
        let TimeDoors { listen, ke } = doors;
        let time = Self { listen: listen.or(self.listen), ke: ke.or(self.ke), ..self }.check()?;
        if time.beside.is_some() && time.ke.is_none() {
            return Err(
                "time.certificate: it is shown at time.ke only, and that is not there".into()
            );
        }
        Ok(time)
    }

    fn check(self) -> Result<Self, String> {
        if self.ke.is_some() && self.listen.is_none() {
            return Err("time.ke: keys are of no use without time.listen".to_owned());
        }
        Ok(self)
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TimeText {
    #[serde(default)]
    sources: Vec<SourceText>,
    listen: Option<String>,
    ke: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    client_certificates: ClientsText,
    #[serde(default)]
    plain: bool,
    #[serde(default)]
    local: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum ClientsText {
    Required,
    #[default]
    Optional,
    None,
}

impl TimeText {
    pub(super) fn check(self) -> Result<Time, String> {
        let clients = match self.client_certificates {
            ClientsText::Required => Clients::Certified,
            ClientsText::Optional => Clients::Either,
            ClientsText::None => Clients::Anybody,
        };
        let (listen, ke) = (address("listen", self.listen)?, address("ke", self.ke)?);
        let sources = source::check(self.sources)?;
        let beside = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some(PairFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err("time.certificate: its key is missing, time.key".into()),
            (None, Some(_)) => return Err("time.key: without time.certificate".into()),
        };
        let (plain, local) = (self.plain, self.local);
        Time { sources, listen, ke, beside, clients, plain, local }.check()
    }
}

fn address(key: &str, text: Option<String>) -> Result<Option<SocketAddr>, String> {
    let read = |text: String| parse(&text).map_err(|what| format!("time.{key}: {what}"));
    text.map(read).transpose()
}

/// Reads where to listen.
///
/// # Errors
/// Says what it should look like: a socket is bound to an address, not to a name.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address and a port, as 0.0.0.0:11123"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Time, String> {
        let parsed: TimeText =
            host::yaml::parse(text, std::path::Path::new("x")).map_err(|e| e.to_string())?;
        parsed.check()
    }

    #[test]
    fn it_is_off_until_it_is_said_where() {
        assert_eq!(read("{}").unwrap(), Time::default());
        let time = read("{listen: \"0.0.0.0:11123\", ke: \"[::]:4460\"}").unwrap();
        assert_eq!(time.listen.unwrap().port(), 11123);
        assert_eq!(time.ke.unwrap().port(), 4460);
        assert_eq!((time.clients, time.plain, time.local), (Clients::Either, false, false));
    }

    #[test]
    fn who_gets_keys_is_one_of_three() {
        for (word, clients) in [
            ("required", Clients::Certified),
            ("optional", Clients::Either),
            ("none", Clients::Anybody),
        ] {
            assert_eq!(read(&format!("client-certificates: {word}")).unwrap().clients, clients);
        }
        assert!(read("client-certificates: maybe").unwrap_err().contains("maybe"));
    }

    #[test]
    fn a_certificate_goes_with_its_key_and_with_the_door_for_keys() {
        let text = "{listen: \"0.0.0.0:1\", certificate: ke.pem, key: ke.key}";
        let (certificate, key) = ("ke.pem".into(), "ke.key".into());
        let time = read(text).unwrap();
        assert_eq!(time.beside, Some(PairFiles { certificate, key }));
        let doors = |ke| TimeDoors { listen: None, ke };
        assert!(time.clone().with(doors(None)).unwrap_err().contains("time.ke"));
        assert!(time.with(doors(Some(parse("0.0.0.0:2").unwrap()))).is_ok());
        assert_eq!(read("{listen: \"0.0.0.0:1\"}").unwrap().beside, None);
    }

    #[test]
    fn the_command_line_comes_first() {
        let at = |text: &str| Some(parse(text).unwrap());
        let said = TimeDoors { listen: at("127.0.0.1:1"), ke: at("127.0.0.1:2") };
        let time = read("{listen: \"127.0.0.1:3\", plain: true}").unwrap().with(said).unwrap();
        assert_eq!((time.listen, time.ke, time.plain), (said.listen, said.ke, true));
        let keys_only = TimeDoors { listen: None, ..said };
        assert!(Time::default().with(keys_only).unwrap_err().contains("time.listen"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("listen: localhost:123", "time.listen"),
            ("listen: 0.0.0.0", "time.listen"),
            ("{listen: \"0.0.0.0:1\", ke: nowhere}", "time.ke"),
            ("ke: 0.0.0.0:4460", "without time.listen"),
            ("plain: maybe", "plain"),
            ("certificate: ke.pem", "time.key"),
            ("key: ke.key", "without time.certificate"),
            ("port: 123", "unknown"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
