//! Reference identifiers, and the kisses that stand in their place (RFC 5905 §7.3 and §7.4).

use std::fmt;

/// Four octets: a source's name, the hash of its address, or a kiss.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ReferenceId([u8; 4]);

impl ReferenceId {
    /// From the four octets.
    #[must_use]
    pub const fn new(octets: [u8; 4]) -> Self {
        Self(octets)
    }

    /// The four octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 4] {
        self.0
    }

    pub(super) const fn kiss(self) -> Kiss {
        match &self.0 {
            b"RATE" => Kiss::Rate,
            b"DENY" => Kiss::Deny,
            b"RSTR" => Kiss::Restricted,
            b"NTSN" => Kiss::NtsNak,
            _ => Kiss::Other(self),
        }
    }
}

/// Letters where they are letters, else hexadecimal: it comes from others.
impl fmt::Display for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim_ascii_end();
        let text = text.split(|octet| *octet == 0).next().unwrap_or_default();
        if !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric) {
            return text.iter().try_for_each(|octet| write!(f, "{}", char::from(*octet)));
        }
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// What a server says instead of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kiss {
    /// Ask less often.
    Rate,
    /// Do not ask any more.
    Deny,
    /// Do not ask any more, by its rules for access.
    Restricted,
    /// The cookie could not be opened, or the question was not authentic (RFC 8915 §5.7).
    NtsNak,
    /// Something that asks for nothing.
    Other(ReferenceId),
}

impl Kiss {
    /// As it travels.
    #[must_use]
    pub const fn reference_id(self) -> ReferenceId {
        match self {
            Self::Rate => ReferenceId(*b"RATE"),
            Self::Deny => ReferenceId(*b"DENY"),
            Self::Restricted => ReferenceId(*b"RSTR"),
            Self::NtsNak => ReferenceId(*b"NTSN"),
            Self::Other(id) => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kiss_is_read_as_it_is_written() {
        let other = Kiss::Other(ReferenceId::new(*b"INIT"));
        for kiss in [Kiss::Rate, Kiss::Deny, Kiss::Restricted, Kiss::NtsNak, other] {
            assert_eq!(kiss.reference_id().kiss(), kiss);
        }
    }

    #[test]
    fn nothing_of_it_reaches_a_terminal_but_letters() {
        let shown = |octets: &[u8; 4]| ReferenceId::new(*octets).to_string();
        assert_eq!(shown(b"GPS\0"), "GPS");
        assert_eq!(shown(b"PPS "), "PPS");
        assert_eq!(shown(b"\x1b[2J"), "1b5b324a");
        assert_eq!(shown(&[127, 0, 0, 1]), "7f000001");
        assert_eq!(shown(&[0; 4]), "00000000");
    }
}
