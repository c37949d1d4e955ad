//! AEAD_AES_SIV_CMAC_256 (RFC 5297, number 15 of the AEAD registry), the algorithm of NTS.
//!
//! It needs no nonce to be unique for its secrecy of what differs; nonces are random here, so that
//! equal texts do not look equal either.

use std::fmt;

use aes_siv::siv::Aes128Siv;
use aes_siv::{KeyInit, Tag};
use zeroize::ZeroizeOnDrop;

/// Octets of a key.
pub const KEY_BYTES: usize = 32;
/// Octets of a nonce as it is made here.
pub const NONCE_BYTES: usize = 16;
/// Octets of a tag.
pub const TAG_BYTES: usize = 16;

/// A key. Wiped when it is dropped, never shown.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// From the octets that TLS exported, or that are random.
    #[must_use]
    pub const fn new(octets: [u8; KEY_BYTES]) -> Self {
        Self(octets)
    }

    pub(crate) const fn octets(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Encrypts `text` where it lies; the tag stands for it and for what is `beside` it.
    /// `None` only for more things beside it than RFC 5297 can count.
    #[must_use]
    pub fn seal(&self, beside: &[&[u8]], text: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let mut siv = Aes128Siv::new((&self.0).into());
        siv.encrypt_inout_detached(beside, text.into()).ok().map(Into::into)
    }

    /// Decrypts `text` where it lies. `None`, and the text as it was, if anything of it, of the
    /// tag or of what is `beside` it is not what was sealed.
    #[must_use]
    pub fn open(&self, beside: &[&[u8]], text: &mut [u8], tag: &[u8; TAG_BYTES]) -> Option<()> {
        let mut siv = Aes128Siv::new((&self.0).into());
        siv.decrypt_inout_detached(beside, text.into(), &Tag::from(*tag)).ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

/// The two keys of an association.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    /// For questions.
    pub c2s: Key,
    /// For answers.
    pub s2c: Key,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let octet = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
        assert_eq!(text.len(), N * 2);
        std::array::from_fn(octet)
    }

    /// RFC 5297 §A.1.
    #[test]
    fn the_deterministic_vector_of_the_standard() {
        let key = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        let key = Key::new(hex(key));
        let beside: [u8; 24] = hex("101112131415161718191a1b1c1d1e1f2021222324252627");
        let plain: [u8; 14] = hex("112233445566778899aabbccddee");
        let mut text = plain;
        let tag = key.seal(&[&beside], &mut text).unwrap();
        assert_eq!(tag, hex("85632d07c6e8f37f950acd320a2ecc93"));
        assert_eq!(text, hex("40c02b9690c4dc04daef7f6afe5c"));
        assert_eq!(key.open(&[&beside], &mut text, &tag), Some(()));
        assert_eq!(text, plain);
    }

    /// RFC 5297 §A.2.
    #[test]
    fn the_vector_with_a_nonce() {
        let key = "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f";
        let key = Key::new(hex(key));
        let first: [u8; 40] = hex("00112233445566778899aabbccddeeffdeaddadadeaddada\
                                   ffeeddccbbaa99887766554433221100");
        let second: [u8; 10] = hex("102030405060708090a0");
        let nonce: [u8; 16] = hex("09f911029d74e35bd84156c5635688c0");
        let mut text = *b"this is some plaintext to encrypt using SIV-AES";
        let tag = key.seal(&[&first, &second, &nonce], &mut text).unwrap();
        assert_eq!(tag, hex("7bdb6e3b432667eb06f4d14bff2fbd0f"));
        let expected: [u8; 47] = hex("cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748\
                                      ba8af829ea64ad544a272e9c485b62a3fd5c0d");
        assert_eq!(text, expected);
        assert_eq!(key.open(&[&second, &first, &nonce], &mut text, &tag), None);
        assert_eq!(text, expected);
    }

    #[test]
    fn every_changed_bit_is_refused_and_changes_nothing() {
        let key = Key::new([7; KEY_BYTES]);
        let mut text = [1; 20];
        let tag = key.seal(&[b"beside"], &mut text).unwrap();
        for bit in 0..text.len() * 8 {
            let mut changed = text;
            changed[bit / 8] ^= 1 << (bit % 8);
            let before = changed;
            assert_eq!(key.open(&[b"beside"], &mut changed, &tag), None);
            assert_eq!(changed, before);
        }
        for bit in 0..128 {
            let mut changed = tag;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&[b"beside"], &mut text, &changed), None);
        }
        assert_eq!(key.open(&[b"besides"], &mut text, &tag), None);
        assert_eq!(Key::new([8; KEY_BYTES]).open(&[b"beside"], &mut text, &tag), None);
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", Key::new([0x5A; KEY_BYTES])), "Key(hidden)");
    }
}
