//! Renewal over a link: a node asks the authority, which answers on the same link.
//!
//! **Invariant:** a request carries a key and no name: who asks is what the handshake proved.

use minicbor::bytes::ByteVec;

use super::frame::Kind;
use crate::join::Failure;
use crate::limits::{CHAIN_BYTES_MAX, CHAIN_CERTS_MAX, CSR_BYTES_MAX, FAILURE_TEXT_BYTES_MAX};
use crate::statement::cbor;

/// RENEW, RENEWED and RENEW-REFUSED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// Certify this key for me.
    Ask {
        /// The asker's number for it.
        id: u64,
        /// A PKCS#10 request (RFC 2986), DER. Only its key is taken.
        csr: Vec<u8>,
    },
    /// It is certified.
    Granted {
        /// The asker's number.
        id: u64,
        /// The new certificate and those up to the root, DER, leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// It is not.
    Refused {
        /// The asker's number.
        id: u64,
        /// Why.
        failure: Failure,
    },
}

impl Renewal {
    /// The kind of frame it travels in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ask { .. } => Kind::Renew,
            Self::Granted { .. } => Kind::Renewed,
            Self::Refused { .. } => Kind::RenewRefused,
        }
    }

    pub(super) fn parse(kind: Kind, payload: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(payload);
        let renewal = match kind {
            Kind::Renew => {
                let (id, csr): (u64, ByteVec) = decoder.decode().ok()?;
                Self::Ask { id, csr: csr.into() }
            }
            Kind::Renewed => {
                let (id, chain): (u64, Vec<ByteVec>) = decoder.decode().ok()?;
                Self::Granted { id, chain: chain.into_iter().map(Vec::from).collect() }
            }
            Kind::RenewRefused => {
                let (id, failure) = decoder.decode().ok()?;
                Self::Refused { id, failure }
            }
            _ => return None,
        };
        (decoder.position() == payload.len() && renewal.is_bounded()).then_some(renewal)
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match self {
            Self::Ask { id, csr } => cbor(|e| e.array(2)?.u64(*id)?.bytes(csr)?.ok()),
            Self::Granted { id, chain } => cbor(|e| {
                e.array(2)?.u64(*id)?.array(chain.len() as u64)?;
                for der in chain {
                    e.bytes(der)?;
                }
                e.ok()
            }),
            Self::Refused { id, failure } => cbor(|e| e.array(2)?.u64(*id)?.encode(failure)?.ok()),
        }
    }

    fn is_bounded(&self) -> bool {
        match self {
            Self::Ask { csr, .. } => csr.len() <= CSR_BYTES_MAX,
            Self::Granted { chain, .. } => {
                (1..=CHAIN_CERTS_MAX).contains(&chain.len())
                    && chain.iter().map(Vec::len).sum::<usize>() <= CHAIN_BYTES_MAX
            }
            Self::Refused { failure, .. } => failure.text.len() <= FAILURE_TEXT_BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Code;
    use crate::time::Timestamp;

    fn samples() -> Vec<Renewal> {
        let failure = Failure::new(Code::Suspended, "on hold", Timestamp::from_s(9));
        vec![
            Renewal::Ask { id: 1, csr: vec![1; 300] },
            Renewal::Granted { id: 2, chain: vec![vec![2; 700], vec![3; 600]] },
            Renewal::Refused { id: u64::MAX, failure },
        ]
    }

    fn back(renewal: &Renewal) -> Option<Renewal> {
        Renewal::parse(renewal.kind(), &renewal.payload())
    }

    #[test]
    fn all_is_read_back_and_nothing_that_is_cut_or_longer() {
        for renewal in samples() {
            assert_eq!(back(&renewal), Some(renewal.clone()));
            let payload = renewal.payload();
            for cut in 0..payload.len() {
                assert_eq!(Renewal::parse(renewal.kind(), &payload[..cut]), None);
            }
            let longer = [payload.as_slice(), &[0]].concat();
            assert_eq!(Renewal::parse(renewal.kind(), &longer), None);
        }
    }

    #[test]
    fn bounds_hold() {
        let refused = |renewal: Renewal| assert_eq!(back(&renewal), None);
        refused(Renewal::Ask { id: 1, csr: vec![0; CSR_BYTES_MAX + 1] });
        refused(Renewal::Granted { id: 1, chain: Vec::new() });
        refused(Renewal::Granted { id: 1, chain: vec![vec![1]; CHAIN_CERTS_MAX + 1] });
        refused(Renewal::Granted { id: 1, chain: vec![vec![1; CHAIN_BYTES_MAX + 1]] });
        let mut failure = Failure::new(Code::Denied, "", Timestamp::default());
        failure.text = "x".repeat(FAILURE_TEXT_BYTES_MAX + 1);
        refused(Renewal::Refused { id: 1, failure });
    }
}
