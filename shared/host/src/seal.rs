//! Keys at rest: a master key under a passphrase, and every secret sealed under the master key.
//!
//! One slow hash (Argon2id, RFC 9106) opens the keyring once a command; the secrets behind it are
//! opened with AES-256-GCM at once. There is one format: without a passphrase the same files are
//! written, but the master key stands in the keyring in the clear, and then the sealing protects
//! nothing beyond the file modes. It is an honest `plain` in the file, never a default passphrase.
//!
//! Nonces are 96 random bits. A keyring seals a few files in its life; the 2^32 seals after which
//! NIST SP 800-38D §8.3 wants a new key are out of reach.
//!
//! **Invariant:** costs read from a file are bounded before any memory is taken for them.
//! **Invariant:** a sealed secret opens only under its own label: two files cannot be swapped.
//! **Invariant:** keys and derived keys are wiped when dropped and never shown by `Debug`.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use zeroize::{Zeroize as _, Zeroizing};

use crate::passphrase::{Passphrase, PassphraseError};
use crate::random::{self, RandomError};

/// The only version of both formats.
const VERSION: u8 = 1;
/// Bytes of a keyring file; it has about 120.
pub const KEYRING_BYTES_MAX: usize = 1024;
/// Bytes of one secret: an ML-DSA-87 key is 4.9 kB, a few of them together still fit.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a sealed secret file: the secret, its tag, and 40 bytes around them.
pub const SEALED_BYTES_MAX: usize = SECRET_BYTES_MAX + 64;

/// 1 GiB of memory: sixteen times the standard, and still a machine's to give.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Passes and lanes: RFC 9106 §4 recommends at most 3 and 4.
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = 32 + TAG_BYTES;

type MasterKey = Zeroizing<[u8; 32]>;

/// Why keys cannot be opened or sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The passphrase does not open the keyring, or somebody altered the keyring: AES-GCM cannot
    /// tell the two apart. Whose fault: the operator's, nearly always.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// No passphrase was to be had. Whose fault: the operator's.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The bytes are no keyring. Whose fault: the operator's, or the disk's.
    #[error("the keyring is damaged: {why}")]
    DamagedKeyring {
        /// What does not fit.
        why: &'static str,
    },
    /// A sealed file does not open under this keyring and label. Whose fault: whoever altered,
    /// swapped or restored it.
    #[error("the sealed {label} is damaged, or belongs to another keyring")]
    Damaged {
        /// What should be in it.
        label: String,
    },
    /// A format of the future. Whose fault: the operator's (an old program).
    #[error("the keyring or sealed file has version {version}; this program knows version 1")]
    Version {
        /// The version found.
        version: u8,
    },
    /// A passphrase hash that would stall the machine, or be worth nothing. Whose fault: whoever
    /// wrote the keyring.
    #[error("the keyring asks for {m_kib} KiB, {t} passes and {p} lanes, outside the bounds")]
    Cost {
        /// Memory in KiB.
        m_kib: u32,
        /// Passes.
        t: u32,
        /// Lanes.
        p: u32,
    },
    /// Not enough memory for the passphrase hash. Whose fault: the machine's.
    #[error("no memory for the passphrase hash ({m_kib} KiB)")]
    Memory {
        /// Memory wanted in KiB.
        m_kib: u32,
    },
    /// A secret longer than [`SECRET_BYTES_MAX`]. Whose fault: ours.
    #[error("a secret has {length} bytes; at most {SECRET_BYTES_MAX} are sealed")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// No random numbers. Whose fault: the machine's.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The cryptographic library refused valid input. Whose fault: ours.
    #[error("the cryptographic library refused to {act}")]
    Library {
        /// What was tried.
        act: &'static str,
    },
}

impl SealError {
    /// A thing to do or to type, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::WrongPassphrase => Some(
                "try again; if it is right, the keyring was altered: restore it from a backup"
                    .to_owned(),
            ),
            Self::Passphrase(error) => error.hint(),
            Self::DamagedKeyring { .. } | Self::Damaged { .. } | Self::Cost { .. } => {
                Some("restore the folder from a backup, keyring and keys together".to_owned())
            }
            Self::Version { .. } => Some("use the newer program that wrote it".to_owned()),
            Self::Memory { .. } => Some("free some memory, then try again".to_owned()),
            Self::TooLarge { .. } | Self::Random(_) | Self::Library { .. } => None,
        }
    }
}

/// What one passphrase guess costs (RFC 9106 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Cost {
    #[n(0)]
    m_kib: u32,
    #[n(1)]
    t: u32,
    #[n(2)]
    p: u32,
}

impl Cost {
    /// RFC 9106's second recommended option: 64 MiB, 3 passes, 4 lanes.
    pub const STANDARD: Self = Self { m_kib: 64 * 1024, t: 3, p: 4 };
    /// For tests only: a guess costs next to nothing.
    pub const TEST: Self = Self { m_kib: 64, t: 1, p: 1 };

    fn check(self) -> Result<Self, SealError> {
        let Self { m_kib, t, p } = self;
        let fits = (1..=PASSES_MAX).contains(&t)
            && (1..=LANES_MAX).contains(&p)
            && (8 * p..=MEMORY_KIB_MAX).contains(&m_kib);
        if fits { Ok(self) } else { Err(SealError::Cost { m_kib, t, p }) }
    }
}

/// The keyring file: CBOR, and nothing after it.
#[derive(Encode, Decode)]
struct KeyringFile {
    #[n(0)]
    version: u8,
    #[n(1)]
    lock: Lock,
}

#[derive(Encode, Decode)]
enum Lock {
    /// The master key in the clear.
    #[n(0)]
    Plain {
        #[n(0)]
        master: ByteArray<32>,
    },
    /// The master key under a passphrase.
    #[n(1)]
    Passphrase {
        #[n(0)]
        salt: ByteArray<16>,
        #[n(1)]
        cost: Cost,
        #[n(2)]
        nonce: ByteArray<12>,
        #[n(3)]
        wrapped: ByteArray<WRAPPED_BYTES>,
    },
}

/// A clear master key must not outlive its decoding either.
impl Drop for Lock {
    fn drop(&mut self) {
        if let Self::Plain { master } = self {
            master.as_mut().zeroize();
        }
    }
}

/// One sealed secret: CBOR, and nothing after it.
#[derive(Encode, Decode)]
struct Sealed {
    #[n(0)]
    version: u8,
    #[n(1)]
    nonce: ByteArray<12>,
    #[n(2)]
    ciphertext: ByteVec,
}

/// An opened keyring: seals and opens the secrets beside it.
pub struct Keyring {
    master: MasterKey,
    encrypted: bool,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("encrypted", &self.encrypted).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Makes a keyring with a fresh master key, and the file to write with mode
    /// [`Mode::Secret`](crate::files::Mode::Secret). Without a passphrase the file is the key.
    ///
    /// # Errors
    /// [`SealError::Memory`], [`SealError::Random`].
    pub fn create(
        passphrase: Option<&Passphrase>,
        cost: Cost,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), SealError> {
        let master: MasterKey = Zeroizing::new(random::bytes()?);
        let lock = match passphrase {
            Some(passphrase) => wrap(&master, passphrase, cost.check()?)?,
            None => Lock::Plain { master: ByteArray::from(*master) },
        };
        let file = to_bytes(&KeyringFile { version: VERSION, lock })?;
        Ok((Self { master, encrypted: passphrase.is_some() }, file))
    }

    /// Opens a keyring. `passphrase` is called only if the file is encrypted.
    ///
    /// # Errors
    /// [`SealError::WrongPassphrase`], or what is wrong with the file.
    pub fn open(
        file: &[u8],
        passphrase: impl FnOnce() -> Result<Passphrase, PassphraseError>,
    ) -> Result<Self, SealError> {
        let file = decode_keyring(file)?;
        match &file.lock {
            Lock::Plain { master } => {
                Ok(Self { master: Zeroizing::new(**master), encrypted: false })
            }
            Lock::Passphrase { salt, cost, nonce, wrapped } => {
                let cost = cost.check()?;
                let kek = stretch(&passphrase()?, salt, cost)?;
                let mut bytes = Zeroizing::new(wrapped.to_vec());
                let opened = decrypt(&kek, nonce, &wrap_context(salt, cost), &mut bytes)
                    .ok_or(SealError::WrongPassphrase)?;
                let master = opened.try_into().map(Zeroizing::new);
                let master = master.map_err(|_| SealError::Library { act: "open a key" })?;
                Ok(Self { master, encrypted: true })
            }
        }
    }

    /// Whether a passphrase protects the master key.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Seals a secret. `label` says which secret it is ("root key"), and opening needs the same.
    ///
    /// # Errors
    /// [`SealError::TooLarge`], [`SealError::Random`].
    pub fn seal(&self, label: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        if secret.len() > SECRET_BYTES_MAX {
            return Err(SealError::TooLarge { length: secret.len() });
        }
        let nonce = random::bytes()?;
        let ciphertext = encrypt(&self.master, nonce, &seal_context(label), secret)?;
        let sealed =
            Sealed { version: VERSION, nonce: nonce.into(), ciphertext: ciphertext.into() };
        to_bytes(&sealed).map(|mut bytes| std::mem::take(&mut *bytes))
    }

    /// Opens what [`Keyring::seal`] made under the same label.
    ///
    /// # Errors
    /// [`SealError::Damaged`] if a bit, the label or the keyring is another one.
    pub fn open_sealed(&self, label: &str, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let damaged = || SealError::Damaged { label: label.to_owned() };
        if bytes.len() > SEALED_BYTES_MAX {
            return Err(damaged());
        }
        check_version(bytes)?;
        let sealed: Sealed = decode_whole(bytes).ok_or_else(damaged)?;
        let mut buffer = Zeroizing::new(Vec::from(sealed.ciphertext));
        let opened = decrypt(&self.master, &sealed.nonce, &seal_context(label), &mut buffer);
        let length = opened.ok_or_else(damaged)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

fn decode_keyring(bytes: &[u8]) -> Result<KeyringFile, SealError> {
    if bytes.len() > KEYRING_BYTES_MAX {
        return Err(SealError::DamagedKeyring { why: "it is too long" });
    }
    check_version(bytes)?;
    decode_whole(bytes).ok_or(SealError::DamagedKeyring { why: "it is not in the keyring format" })
}

/// The version is read alone and first: the rest of a future format need not look like ours. What
/// has no version at all is left to the decoder to refuse.
fn check_version(bytes: &[u8]) -> Result<(), SealError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    match decoder.array().and_then(|_| decoder.u8()) {
        Ok(version) if version != VERSION => Err(SealError::Version { version }),
        _ => Ok(()),
    }
}

fn decode_whole<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Option<T> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().ok()?;
    (decoder.position() == bytes.len()).then_some(value)
}

/// Room for a keyring is taken at once: no half of a clear key stays behind in a vector that grew.
fn to_bytes(value: &impl Encode<()>) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEYRING_BYTES_MAX));
    minicbor::encode(value, &mut *bytes).map_err(|_| SealError::Library { act: "encode" })?;
    Ok(bytes)
}

fn wrap(master: &MasterKey, passphrase: &Passphrase, cost: Cost) -> Result<Lock, SealError> {
    let (salt, nonce) = (random::bytes()?, random::bytes()?);
    let kek = stretch(passphrase, &salt, cost)?;
    let wrapped = encrypt(&kek, nonce, &wrap_context(&salt, cost), master.as_slice())?;
    let wrapped: [u8; WRAPPED_BYTES] =
        wrapped.try_into().map_err(|_| SealError::Library { act: "wrap a key" })?;
    let (salt, nonce, wrapped) = (salt.into(), nonce.into(), wrapped.into());
    Ok(Lock::Passphrase { salt, cost, nonce, wrapped })
}

/// What the wrapped key is bound to: altering the version, the salt or the cost breaks it.
fn wrap_context(salt: &[u8; 16], cost: Cost) -> Vec<u8> {
    let mut context = b"conclave keyring\0".to_vec();
    context.push(VERSION);
    context.extend_from_slice(salt);
    for number in [cost.m_kib, cost.t, cost.p] {
        context.extend_from_slice(&number.to_be_bytes());
    }
    context
}

/// What a sealed secret is bound to; the label stands last, so nothing can run into it.
fn seal_context(label: &str) -> Vec<u8> {
    let mut context = b"conclave sealed\0".to_vec();
    context.push(VERSION);
    context.extend_from_slice(label.as_bytes());
    context
}

/// Argon2id into a key. Its working memory is asked for politely, and wiped.
fn stretch(passphrase: &Passphrase, salt: &[u8; 16], cost: Cost) -> Result<MasterKey, SealError> {
    let refused = |_| SealError::Library { act: "hash a passphrase" };
    let params = argon2::Params::new(cost.m_kib, cost.t, cost.p, Some(32)).map_err(refused)?;
    let blocks = params.block_count();
    let mut memory: Vec<argon2::Block> = Vec::new();
    memory.try_reserve_exact(blocks).map_err(|_| SealError::Memory { m_kib: cost.m_kib })?;
    memory.resize(blocks, argon2::Block::new());
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = MasterKey::default();
    let hashed = argon2.hash_password_into_with_memory(
        passphrase.as_bytes(),
        salt,
        key.as_mut_slice(),
        memory.as_mut_slice(),
    );
    for block in &mut memory {
        block.as_mut().zeroize();
    }
    hashed.map_err(refused)?;
    Ok(key)
}

fn cipher(key: &MasterKey) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key.as_slice()).ok().map(LessSafeKey::new)
}

fn encrypt(
    key: &MasterKey,
    nonce: [u8; 12],
    context: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, SealError> {
    let refused = SealError::Library { act: "encrypt" };
    let Some(cipher) = cipher(key) else { return Err(refused) };
    let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() + TAG_BYTES));
    bytes.extend_from_slice(secret);
    let nonce = Nonce::assume_unique_for_key(nonce);
    match cipher.seal_in_place_append_tag(nonce, Aad::from(context), &mut *bytes) {
        Ok(()) => Ok(std::mem::take(&mut *bytes)),
        Err(_) => Err(refused),
    }
}

fn decrypt<'a>(
    key: &MasterKey,
    nonce: &[u8; 12],
    context: &[u8],
    bytes: &'a mut [u8],
) -> Option<&'a [u8]> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    cipher(key)?.open_in_place(nonce, Aad::from(context), bytes).ok().map(|opened| &*opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    fn encrypted() -> (Keyring, Zeroizing<Vec<u8>>) {
        Keyring::create(Some(&passphrase("correct horse")), Cost::TEST).unwrap()
    }

    fn plain() -> (Keyring, Zeroizing<Vec<u8>>) {
        Keyring::create(None, Cost::TEST).unwrap()
    }

    fn unasked() -> Result<Passphrase, PassphraseError> {
        panic!("nobody needs to be asked")
    }

    #[test]
    fn the_right_passphrase_opens_and_a_wrong_one_does_not() {
        let (keyring, file) = encrypted();
        let sealed = keyring.seal("root key", b"secret").unwrap();
        let again = Keyring::open(&file, || Ok(passphrase("correct horse"))).unwrap();
        assert!(again.is_encrypted());
        assert_eq!(again.open_sealed("root key", &sealed).unwrap().as_slice(), b"secret");
        for wrong in ["correct horsE", "correct horse ", "c"] {
            let error = Keyring::open(&file, || Ok(passphrase(wrong))).unwrap_err();
            assert!(matches!(error, SealError::WrongPassphrase) && error.hint().is_some());
        }
    }

    #[test]
    fn a_plain_keyring_asks_nobody_and_seals_alike() {
        let (keyring, file) = plain();
        let sealed = keyring.seal("root key", b"secret").unwrap();
        let again = Keyring::open(&file, unasked).unwrap();
        assert!(!again.is_encrypted());
        assert_eq!(again.open_sealed("root key", &sealed).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn an_encrypted_file_does_not_hold_the_key() {
        let (keyring, file) = encrypted();
        assert!(!file.windows(32).any(|window| window == keyring.master.as_slice()));
        let (keyring, file) = plain();
        assert!(file.windows(32).any(|window| window == keyring.master.as_slice()));
    }

    #[test]
    fn a_refused_passphrase_is_passed_on() {
        let (_, file) = encrypted();
        let error = Keyring::open(&file, || Err(PassphraseError::Empty)).unwrap_err();
        assert!(matches!(error, SealError::Passphrase(PassphraseError::Empty)));
    }

    #[test]
    fn labels_and_keyrings_do_not_mix() {
        let (one, other) = (plain().0, plain().0);
        let sealed = one.seal("root key", b"secret").unwrap();
        for (keyring, label) in [(&one, "issuing key"), (&one, "root ke"), (&other, "root key")] {
            let error = keyring.open_sealed(label, &sealed).unwrap_err();
            assert!(matches!(error, SealError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn the_same_secret_is_never_sealed_the_same() {
        let (keyring, _) = plain();
        assert_ne!(keyring.seal("a", b"x").unwrap(), keyring.seal("a", b"x").unwrap());
    }

    #[test]
    fn every_bit_and_every_byte_counts() {
        let (keyring, file) = encrypted();
        let sealed = keyring.seal("a", b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(keyring.open_sealed("a", &altered).is_err(), "byte {at} of the secret");
            assert!(keyring.open_sealed("a", &sealed[..at]).is_err(), "cut at {at}");
        }
        for at in 0..file.len() {
            let mut altered = file.to_vec();
            altered[at] ^= 1;
            let open = |bytes: &[u8]| Keyring::open(bytes, || Ok(passphrase("correct horse")));
            assert!(open(&altered).is_err(), "byte {at} of the keyring");
            assert!(open(&file[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nothing_may_follow() {
        let (keyring, file) = plain();
        let longer = |bytes: &[u8]| [bytes, &[0]].concat();
        assert!(Keyring::open(&longer(&file), unasked).is_err());
        let sealed = keyring.seal("a", b"x").unwrap();
        assert!(keyring.open_sealed("a", &longer(&sealed)).is_err());
        assert!(Keyring::open(&[0x82; KEYRING_BYTES_MAX + 1], unasked).is_err());
    }

    #[test]
    fn a_future_version_is_named() {
        let (keyring, file) = plain();
        let mut sealed = keyring.seal("a", b"x").unwrap();
        let mut file = file.to_vec();
        (file[1], sealed[1]) = (2, 2);
        assert!(matches!(Keyring::open(&file, unasked), Err(SealError::Version { version: 2 })));
        let error = keyring.open_sealed("a", &sealed).unwrap_err();
        assert!(matches!(error, SealError::Version { version: 2 }));
    }

    #[test]
    fn costs_are_bounded_before_anyone_is_asked() {
        let fits = |m_kib, t, p| Cost { m_kib, t, p }.check().is_ok();
        assert!(fits(MEMORY_KIB_MAX, 16, 16) && fits(8, 1, 1) && fits(128, 1, 16));
        assert!(Cost::STANDARD.check().is_ok() && Cost::TEST.check().is_ok());
        assert!(!fits(MEMORY_KIB_MAX + 1, 1, 1) && !fits(64, 17, 1) && !fits(1024, 1, 17));
        assert!(!fits(64, 0, 1) && !fits(64, 1, 0) && !fits(127, 1, 16));
        let lock = Lock::Passphrase {
            salt: [0; 16].into(),
            cost: Cost { m_kib: u32::MAX, t: 1, p: 1 },
            nonce: [0; 12].into(),
            wrapped: [0; WRAPPED_BYTES].into(),
        };
        let file = to_bytes(&KeyringFile { version: VERSION, lock }).unwrap();
        assert!(matches!(Keyring::open(&file, unasked), Err(SealError::Cost { .. })));
    }

    #[test]
    fn secrets_have_a_largest_size() {
        let (keyring, _) = plain();
        let sealed = keyring.seal("a", &[1; SECRET_BYTES_MAX]).unwrap();
        assert_eq!(keyring.open_sealed("a", &sealed).unwrap().len(), SECRET_BYTES_MAX);
        let error = keyring.seal("a", &[1; SECRET_BYTES_MAX + 1]).unwrap_err();
        assert!(matches!(error, SealError::TooLarge { .. }));
        let empty = keyring.seal("a", b"").unwrap();
        assert!(keyring.open_sealed("a", &empty).unwrap().is_empty());
    }

    #[test]
    fn a_keyring_does_not_show_its_key() {
        assert_eq!(format!("{:?}", plain().0), "Keyring { encrypted: false, .. }");
    }
}
