//! What a certificate is known by: serial, issuer key identifier, SHA-256 of its public key.
//!
//! Never a hash of the certificate: an ECDSA signature (r, s) has the twin (r, n−s), so one
//! certificate has two hashes (Nebula GHSA-69x3-g4r3-p962). These three do not change with it.

use std::fmt;

use minicbor::{Decode, Encode};

/// SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha256_of(&[bytes])
}

/// SHA-256 of several byte strings, one after the other.
#[must_use]
pub fn sha256_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal in either case; colons between bytes are allowed.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// A certificate's serial number: 1 to 20 octets, big-endian, no leading zero (RFC 5280 §4.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    length: u8,
    octets: [u8; 20],
}

impl Serial {
    /// From the content octets of the DER integer; a leading zero that only keeps the number
    /// positive is dropped. `None` for zero, and for more than 20 octets.
    #[must_use]
    pub fn from_der_content(content: &[u8]) -> Option<Self> {
        let start = content.iter().position(|octet| *octet != 0)?;
        let significant = content.get(start..)?;
        let mut octets = [0; 20];
        octets.get_mut(..significant.len())?.copy_from_slice(significant);
        Some(Self { length: u8::try_from(significant.len()).ok()?, octets })
    }

    /// A fresh serial from 16 random bytes: positive, exactly 16 octets, so never zero.
    #[must_use]
    pub fn from_random(mut random: [u8; 16]) -> Self {
        let [first, ..] = &mut random;
        *first = (*first & 0x7f) | 0x40;
        let mut octets = [0; 20];
        for (to, from) in octets.iter_mut().zip(random) {
            *to = from;
        }
        Self { length: 16, octets }
    }

    /// Reads hexadecimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_der_content(&unhex(text)?)
    }

    /// The octets, big-endian, without leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.as_bytes()))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<C> Encode<C> for Serial {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Serial {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        Self::from_der_content(bytes)
            .filter(|serial| serial.as_bytes() == bytes)
            .ok_or_else(|| minicbor::decode::Error::message("not a serial number"))
    }
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] [u8; $size]);

        impl $name {
            /// From its bytes.
            #[must_use]
            pub const fn new(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// From a slice of exactly the right length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

fixed_bytes!(
    /// A key identifier: the leftmost 160 bits of SHA-256 of the public key (RFC 7093 §2 method 1).
    KeyId, 20
);
fixed_bytes!(
    /// SHA-256 of a SubjectPublicKeyInfo: the same key in whatever certificate.
    SpkiHash, 32
);
fixed_bytes!(
    /// A running daemon: random at each start.
    InstanceId, 16
);
fixed_bytes!(
    /// A link in a hash chain.
    ChainHash, 32
);

impl KeyId {
    /// RFC 7093 §2 method 1 over the content of the public key's BIT STRING.
    #[must_use]
    pub fn of_public_key_bits(bits: &[u8]) -> Self {
        let mut id = [0; 20];
        for (to, from) in id.iter_mut().zip(sha256(bits)) {
            *to = from;
        }
        Self(id)
    }
}

impl SpkiHash {
    /// The hash of a DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn of(spki_der: &[u8]) -> Self {
        Self(sha256(spki_der))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_the_number_not_its_padding() {
        let a = Serial::from_der_content(&[0, 0x80, 1]).unwrap();
        let b = Serial::from_der_content(&[0x80, 1]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "8001");
        assert!(Serial::from_der_content(&[0]).is_none(), "zero is not a serial");
        assert!(Serial::from_der_content(&[1; 21]).is_none(), "21 octets are too many");
        assert!(Serial::from_der_content(&[1; 20]).is_some());
    }

    #[test]
    fn random_serials_are_positive_and_whole() {
        for fill in [0x00, 0x7f, 0x80, 0xff] {
            let serial = Serial::from_random([fill; 16]);
            assert_eq!(serial.as_bytes().len(), 16);
            assert!(serial.as_bytes()[0] & 0x80 == 0);
        }
    }

    #[test]
    fn hexadecimal_both_ways() {
        assert_eq!(unhex("0a:FF").unwrap(), [10, 255]);
        assert_eq!(hex(&[10, 255]), "0aff");
        assert!(unhex("0").is_none());
        assert!(unhex("zz").is_none());
    }
}
