//! How both ends of a TLS connection come to the same keys (RFC 8915 §5.1).
//!
//! The connection itself is elsewhere: whoever has one exports 32 octets under [`LABEL`] with each
//! of the two contexts. That works on the links between peers as well as on the standard's port.

use crate::records::{AES_SIV_CMAC_256, NTPV4};

/// The exporter's label.
pub const LABEL: &[u8] = b"EXPORTER-network-time-security";
/// The protocol's name in TLS (ALPN).
pub const ALPN: &[u8] = b"ntske/1";
/// The port of the key exchange, where nothing else is configured.
pub const PORT: u16 = 4460;

/// The exporter's context for the key of questions.
pub const C2S: [u8; 5] = context(0);
/// The exporter's context for the key of answers.
pub const S2C: [u8; 5] = context(1);

const fn context(direction: u8) -> [u8; 5] {
    let [protocol, algorithm] = [NTPV4.to_be_bytes(), AES_SIV_CMAC_256.to_be_bytes()];
    [protocol[0], protocol[1], algorithm[0], algorithm[1], direction]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contexts_are_those_of_the_standard() {
        assert_eq!((C2S, S2C), ([0, 0, 0, 15, 0], [0, 0, 0, 15, 1]));
    }
}
