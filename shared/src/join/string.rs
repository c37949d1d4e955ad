//! The join string: everything a machine needs to become a node, for one use.
//!
//! ```text
//! conclave:BASE32( version u8 ‖ length u16 ‖ CBOR[network, [address…], pin, secret] ‖ checksum 4 )
//! ```
//!
//! Base32 (RFC 4648 §6), because it survives being read aloud, has no letter that ends a word where
//! one double-clicks, and makes the smaller QR code (alphanumeric mode). The pin is the SHA-256 of
//! the root's SubjectPublicKeyInfo (as RFC 7469 §2.4): the first connection is authenticated by it.
//!
//! **Invariant:** of a damaged string nothing is used, and what is wrong with it is told apart.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use super::proof::Secret;
use crate::id::{SpkiHash, sha256};
use crate::limits::{JOIN_ADDRESSES_MAX, JOIN_STRING_BYTES_MAX};
use crate::name::NetworkName;
use crate::presence::is_address;
use crate::statement::cbor;

/// What every join string begins with.
pub const PREFIX: &str = "conclave:";

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 3;
const CHECKSUM_BYTES: usize = 4;

/// What is wrong with a join string. Whose fault: whoever copied it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StringError {
    /// Something else altogether.
    #[error("not a join string: it does not begin with {PREFIX}")]
    NotOne,
    /// The end is missing.
    #[error("the join string is cut short: {have} of {want} characters")]
    Truncated {
        /// Characters after the prefix.
        have: usize,
        /// Characters there should be.
        want: usize,
    },
    /// Something follows it.
    #[error("the join string has {extra} characters too many at its end")]
    TooLong {
        /// How many.
        extra: usize,
    },
    /// A character that no join string has.
    #[error("the join string is mistyped: {found:?} is no letter of it (character {at})")]
    Letter {
        /// The character.
        found: char,
        /// Its place, from 1, after the prefix.
        at: usize,
    },
    /// The checksum does not fit.
    #[error("the join string is mistyped: its checksum does not fit")]
    Mistyped,
    /// From a newer authority.
    #[error("the join string is of version {found}; this program knows {VERSION}")]
    Newer {
        /// Its version.
        found: u8,
    },
    /// The checksum fits and the content makes no sense.
    #[error("the join string makes no sense although its checksum fits")]
    Content,
}

impl StringError {
    /// A thing to do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "use a newer peer, or an authority of this version",
            Self::Content => "ask for another: ca-tool invite NODE",
            _ => "copy it again, from conclave: to its end",
        }
    }
}

/// A join string, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinString {
    /// Into which network.
    pub network: NetworkName,
    /// Where the authority answers, `HOST:PORT`, the likeliest first.
    pub addresses: Vec<String>,
    /// SHA-256 of the root's public key.
    pub pin: SpkiHash,
    /// The secret of the invitation.
    pub secret: Secret,
}

impl JoinString {
    /// Reads one; case and white space do not matter.
    ///
    /// # Errors
    /// [`StringError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, StringError> {
        let letters = letters(text)?;
        let bytes = decode(&letters)?;
        let &[version, high, low] = bytes.first_chunk().ok_or_else(|| short(&letters, 0))?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if version > VERSION {
            return Err(StringError::Newer { found: version });
        }
        if length > JOIN_STRING_BYTES_MAX || version != VERSION {
            return Err(StringError::Mistyped);
        }
        if bytes.len() < length {
            return Err(short(&letters, length));
        }
        let want = BASE32_NOPAD.encode_len(length);
        if letters.len() > want {
            return Err(StringError::TooLong { extra: letters.len() - want });
        }
        let (said, checksum) = bytes
            .split_at_checked(length.saturating_sub(CHECKSUM_BYTES))
            .ok_or(StringError::Mistyped)?;
        if !sha256(said).starts_with(checksum) || checksum.len() != CHECKSUM_BYTES {
            return Err(StringError::Mistyped);
        }
        let content = said.get(HEAD_BYTES..).and_then(Self::read);
        content.filter(Self::is_bounded).ok_or(StringError::Content)
    }

    fn read(content: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(content);
        (decoder.array().ok()? == Some(4)).then_some(())?;
        let network = decoder.decode().ok()?;
        let addresses = decoder.decode().ok()?;
        let pin = decoder.decode().ok()?;
        let secret = Secret::new(decoder.bytes().ok()?.try_into().ok()?);
        let whole = decoder.position() == content.len();
        whole.then_some(Self { network, addresses, pin, secret })
    }

    fn is_bounded(&self) -> bool {
        (1..=JOIN_ADDRESSES_MAX).contains(&self.addresses.len())
            && self.addresses.iter().all(|address| is_address(address))
    }

    /// The string itself: to be shown once, to whoever is to join.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let content = Zeroizing::new(cbor(|e| {
            e.array(4)?.encode(&self.network)?.encode(&self.addresses)?;
            e.encode(self.pin)?.bytes(self.secret.as_bytes())?.ok()
        }));
        let length = HEAD_BYTES + content.len() + CHECKSUM_BYTES;
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.push(VERSION);
        // A network name and four addresses stay far below the bound of 64 KiB.
        bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&content);
        let checksum = sha256(&bytes);
        bytes.extend(checksum.iter().take(CHECKSUM_BYTES));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + length * 2));
        text.push_str(PREFIX);
        BASE32_NOPAD.encode_append(&bytes, &mut text);
        text
    }
}

impl fmt::Display for JoinString {
    /// Without its secret, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}… ({} at {})", self.network, self.addresses.join(", "))
    }
}

/// What follows the prefix, in upper case and without white space.
fn letters(text: &str) -> Result<Zeroizing<String>, StringError> {
    let compact: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
    let (prefix, rest) = compact.split_at_checked(PREFIX.len()).ok_or(StringError::NotOne)?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return Err(StringError::NotOne);
    }
    let foreign = |c: char| !matches!(c.to_ascii_uppercase(), 'A'..='Z' | '2'..='7');
    if let Some((at, found)) = rest.chars().enumerate().find(|(_, c)| foreign(*c)) {
        return Err(StringError::Letter { found, at: at + 1 });
    }
    if rest.len() > BASE32_NOPAD.encode_len(JOIN_STRING_BYTES_MAX) {
        let extra = rest.len() - BASE32_NOPAD.encode_len(JOIN_STRING_BYTES_MAX);
        return Err(StringError::TooLong { extra });
    }
    Ok(Zeroizing::new(rest.to_ascii_uppercase()))
}

/// As many whole bytes as there are: a string that is cut short is to be told apart from one that
/// is mistyped.
fn decode(letters: &str) -> Result<Zeroizing<Vec<u8>>, StringError> {
    // Base32 has no text of these lengths (RFC 4648 §6): the last letter says nothing whole.
    let spare = usize::from(matches!(letters.len() % 8, 1 | 3 | 6));
    let whole = letters.get(..letters.len() - spare).unwrap_or_default();
    let mut lenient = BASE32_NOPAD.specification();
    lenient.check_trailing_bits = false;
    let lenient = lenient.encoding().map_err(|_| StringError::Content)?;
    lenient.decode(whole.as_bytes()).map(Zeroizing::new).map_err(|_| StringError::Mistyped)
}

fn short(letters: &str, length: usize) -> StringError {
    let want = BASE32_NOPAD.encode_len(length.max(HEAD_BYTES + CHECKSUM_BYTES));
    StringError::Truncated { have: letters.len(), want }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> JoinString {
        JoinString {
            network: NetworkName::parse("mesh.example").unwrap(),
            addresses: vec!["192.0.2.7:7443".to_owned(), "[2001:db8::7]:7443".to_owned()],
            pin: SpkiHash::new([9; 32]),
            secret: Secret::new([7; 32]),
        }
    }

    #[test]
    fn it_is_read_back_however_it_was_wrapped_or_shouted() {
        let (sample, text) = (sample(), sample().reveal());
        assert_eq!(JoinString::parse(&text), Ok(sample.clone()));
        assert_eq!(JoinString::parse(&text.to_uppercase()), Ok(sample.clone()));
        let wrapped: String = text.chars().flat_map(|c| [c, '\n']).collect();
        assert_eq!(JoinString::parse(&wrapped), Ok(sample));
        assert!(text.len() < 260, "{}", text.len());
    }

    #[test]
    fn what_is_wrong_with_it_is_told_apart() {
        let text = sample().reveal();
        for cut in PREFIX.len()..text.len() {
            let said = JoinString::parse(&text[..cut]);
            assert!(matches!(said, Err(StringError::Truncated { .. })), "{cut}: {said:?}");
        }
        let want = text.len() - PREFIX.len();
        assert_eq!(
            JoinString::parse(&text[..text.len() - 9]),
            Err(StringError::Truncated { have: want - 9, want })
        );
        assert_eq!(JoinString::parse(&text[..5]), Err(StringError::NotOne));
        assert_eq!(JoinString::parse("https://example.org/"), Err(StringError::NotOne));
        let longer = format!("{}AAAA", *text);
        assert_eq!(JoinString::parse(&longer), Err(StringError::TooLong { extra: 4 }));
        let foreign = text.replacen(&text[20..21], "0", 1);
        let at = foreign.find('0').unwrap() - PREFIX.len() + 1;
        assert_eq!(JoinString::parse(&foreign), Err(StringError::Letter { found: '0', at }));
        let huge = format!("{PREFIX}{}", "A".repeat(100_000));
        assert!(matches!(JoinString::parse(&huge), Err(StringError::TooLong { .. })));
    }

    #[test]
    fn every_wrong_letter_is_noticed() {
        let text = sample().reveal();
        for at in PREFIX.len()..text.len() {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let mut wrong = text.to_string();
            wrong.replace_range(at..=at, other);
            let read = JoinString::parse(&wrong);
            // The last letter has bits to spare: it may say the same with another letter.
            let same = at + 1 == text.len() && read == Ok(sample());
            assert!(read.is_err() || same, "{at}");
        }
    }

    #[test]
    fn a_newer_version_says_so() {
        let text = sample().reveal();
        // The first letter holds the upper five bits of the version.
        let newer = text.replacen(":A", ":B", 1);
        assert_eq!(JoinString::parse(&newer), Err(StringError::Newer { found: 9 }));
    }

    #[test]
    fn no_address_and_too_many_are_no_string() {
        for count in [0, JOIN_ADDRESSES_MAX + 1] {
            let addresses = vec!["a:1".to_owned(); count];
            let text = JoinString { addresses, ..sample() }.reveal();
            assert_eq!(JoinString::parse(&text), Err(StringError::Content));
        }
    }

    #[test]
    fn the_secret_is_shown_by_nothing_but_reveal() {
        let shown = format!("{:?} {}", sample(), sample());
        let secret = BASE32_NOPAD.encode(&[7; 32]);
        assert!(!shown.contains(&secret[8..40]) && !shown.contains("7, 7"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "conclave:[A-Z2-7]{0,300}|\\PC{0,80}") {
            let _ = JoinString::parse(&text);
        }
    }
}
