//! Presence: a node's own signed statement that it is here, where, and which running instance.
//!
//! Newer replaces older. One certificate alive in two instances at once is a copied key: a restart
//! has a new instance and a higher boot counter, anything else is `duplicate-instance`.
//!
//! **Invariant:** a [`SignedPresence`] was signed by the key of a verified member, about itself.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::cert::Usage;
use crate::id::{InstanceId, sha256};
use crate::key::{KeyError, PrivateKey};
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, AHEAD_S, COPY_SLACK_MS, RELAYS_MAX, ROLES_MAX,
};
use crate::name::{Label, NetworkName, NodeName};
use crate::refusal::{Code, Refusal};
use crate::statement::{self, Topic, Unverified, cbor};
use crate::time::Timestamp;
use crate::verify::{Member, Verified, Verifier};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Presence {
    /// Who.
    #[n(0)]
    pub node: NodeName,
    /// Which run of the daemon.
    #[n(1)]
    pub instance: InstanceId,
    /// How often the daemon has been started on this bundle.
    #[n(2)]
    pub boot: u64,
    /// Counts statements within one run.
    #[n(3)]
    pub sequence: u64,
    /// When it was said.
    #[n(4)]
    pub at: Timestamp,
    /// Where it can be dialled, `HOST:PORT`.
    #[n(5)]
    pub addresses: Vec<String>,
    /// The roles it fills; no more than its certificate has.
    #[n(6)]
    pub roles: Vec<Label>,
    /// The feed's number it has.
    #[n(7)]
    pub feed_number: u64,
    /// The policy's number it has.
    #[n(8)]
    pub policy_number: u64,
    /// Linked members with the role `relay`, through which it can be reached too.
    #[n(9)]
    pub relays: Vec<NodeName>,
}

impl Presence {
    /// Signs it with the node's key; `chain` is the node's, leaf first.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(
        &self,
        network: &NetworkName,
        key: &PrivateKey,
        chain: &[&[u8]],
    ) -> Result<Vec<u8>, KeyError> {
        let payload = cbor(|e| e.encode(self)?.ok());
        statement::sign(Topic::Presence, network, key, chain, &payload)
    }

    /// Whether this is newer than `other` of the same node: a later run, or later in the same run.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        if self.instance == other.instance {
            self.sequence > other.sequence
        } else {
            self.boot > other.boot
        }
    }

    /// Whether this and `other` cannot both be the one run of an uncopied bundle.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        self.instance != other.instance && self.boot <= other.boot
    }

    /// Whether this and `other` alone prove that two runs of one bundle were alive at once: two
    /// instances of one start, or an earlier start that still speaks after a later one did.
    #[must_use]
    pub fn proves_copy(&self, other: &Self) -> bool {
        let (earlier, later) = if self.boot <= other.boot { (self, other) } else { (other, self) };
        let speaks_after = earlier.at.ms_since(later.at) > COPY_SLACK_MS;
        self.instance != other.instance && (earlier.boot == later.boot || speaks_after)
    }

    fn is_bounded(&self) -> bool {
        self.addresses.len() <= ADDRESSES_MAX
            && self.roles.len() <= ROLES_MAX
            && self.relays.len() <= RELAYS_MAX
            && self.addresses.iter().all(|address| is_address(address))
    }
}

/// A presence with its signature, as it is passed on, and the member who signed it.
///
/// A clone shares all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPresence {
    /// The statement, as it came.
    pub bytes: Arc<[u8]>,
    /// What it says.
    pub presence: Arc<Presence>,
    /// Who signed it.
    pub member: Arc<Verified<Member>>,
}

impl SignedPresence {
    /// Verifies a presence: its chain, its signature, and that it is about its signer.
    ///
    /// # Errors
    /// [`Refusal`]: what the verifier says of the chain, or `malformed`.
    pub fn verify(
        bytes: &[u8],
        network: &NetworkName,
        verifier: &Verifier,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let hash = sha256(bytes);
        let unusable = |_| Refusal::new(Code::Policy, "the verifier's state is unusable");
        let ground = verifier.ground().map_err(unusable)?;
        let signed = match ground.presence(&hash) {
            Some(known) => {
                verifier.recheck(&known.member, now)?;
                known
            }
            None => {
                let signed = Self::verify_anew(bytes, network, verifier, now)?;
                ground.remember(hash, &signed);
                signed
            }
        };
        let at = signed.presence.at;
        if at > now.plus_s(AHEAD_S) {
            let detail = format!("presence: signed at {at}, ahead of us");
            return Err(Refusal::new(Code::Malformed, detail));
        }
        Ok(signed)
    }

    fn verify_anew(
        bytes: &[u8],
        network: &NetworkName,
        verifier: &Verifier,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let malformed = |text: String| Refusal::new(Code::Malformed, text);
        let statement = Unverified::parse(Topic::Presence, bytes)
            .map_err(|e| malformed(format!("presence: {e}")))?;
        let member = verifier.admit(statement.chain(), Usage::Client, None, now)?;
        let payload = statement
            .verify(network, &member.cert.public)
            .map_err(|e| malformed(format!("presence: {e}")))?;
        let presence: Presence =
            minicbor::decode(payload).map_err(|_| malformed("presence: unreadable".to_owned()))?;
        if presence.node != *member.node() {
            let detail = format!("presence of {} signed by {}", presence.node, member.node());
            return Err(malformed(detail));
        }
        if !presence.is_bounded() {
            return Err(malformed("presence: an address or a bound is wrong".to_owned()));
        }
        let certified = &member.cert.attributes.roles;
        if !presence.roles.iter().all(|role| certified.contains(role)) {
            let detail = "presence: a role that the certificate does not grant".to_owned();
            return Err(Refusal::new(Code::Policy, detail));
        }
        let (presence, member) = (Arc::new(presence), Arc::new(member));
        Ok(Self { bytes: bytes.into(), presence, member })
    }

    /// Whether somebody but the verifier's memory holds it.
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.bytes) > 1
    }

    /// Reads who and which instance without believing anything: to skip what is known already.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<Presence> {
        let statement = Unverified::parse(Topic::Presence, bytes).ok()?;
        minicbor::decode(statement.unverified_payload()).ok()
    }
}

/// Whether a text is `HOST:PORT` with a numeric port and nothing a terminal or log would mind.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_ok = if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        inner.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
    };
    let port_ok =
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    text.len() <= ADDRESS_BYTES_MAX && host_ok && port_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_no_copy_and_two_that_speak_are() {
        let run = |instance: u8, boot, at_s| Presence {
            node: NodeName::parse("bob").unwrap(),
            instance: InstanceId::new([instance; 16]),
            boot,
            sequence: 1,
            at: Timestamp::from_s(at_s),
            addresses: Vec::new(),
            roles: Vec::new(),
            feed_number: 0,
            policy_number: 0,
            relays: Vec::new(),
        };
        let slack_s = COPY_SLACK_MS / 1000;
        let proves = |a: &Presence, b: &Presence| {
            assert_eq!(a.proves_copy(b), b.proves_copy(a));
            a.proves_copy(b)
        };
        assert!(!proves(&run(1, 5, 100), &run(1, 5, 900)), "one run");
        assert!(!proves(&run(1, 5, 100), &run(2, 6, 900)), "a restart");
        assert!(!proves(&run(1, 5, 900 + slack_s), &run(2, 6, 900)), "a clock set back");
        assert!(proves(&run(1, 5, 901 + slack_s), &run(2, 6, 900)), "both speak");
        assert!(proves(&run(1, 5, 100), &run(2, 5, 100)), "one start, two instances");
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7400", "alice.lan:1", "[::1]:65535", "a:80"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "a", "a:", ":1", "a:0", "a:65536", "a b:1", "::1:5", "[x]:1", "a\n:1", "a:+1"]
        {
            assert!(!is_address(bad), "{bad:?}");
        }
    }
}
