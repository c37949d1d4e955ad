//! The certificate from outside that the port for keys shows beside the node's own, and its key.
//!
//! Whoever renews it puts two files in place of two others, one after the other, and tells nobody.
//! So both are read again once a minute: reading two small files costs less than being wrong about
//! whether they changed. Between the two they do not fit each other, and the old ones are shown.
//!
//! **Invariant:** files that do not fit, or that others may read the key of, change nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use host::fault::Fault;
use host::files;
use shared::cert::dates;
use shared::id::sha256;
use shared::pem::{self, PemError};
use shared::time::Timestamp;
use tls::{Beside, BesideError};
use zeroize::Zeroizing;

use crate::config::PairFiles;
use crate::limits::{
    KEY_FILE_BYTES_MAX, NTS_CERTIFICATE_NEAR_S, NTS_CHAIN_BYTES_MAX, NTS_CHAIN_MAX,
};

/// What is shown, and the files it comes from.
pub(super) struct KeptPair {
    files: PairFiles,
    shown: RwLock<Arc<Beside>>,
    seen: Mutex<Seen>,
}

/// What is known of the files, and was told of them.
struct Seen {
    read: Digest,
    /// Of what is shown: when it begins and ends.
    life: (Timestamp, Timestamp),
    end: End,
    trouble: Option<String>,
}

/// By what it is known whether the files are others.
type Digest = [[u8; 32]; 2];

/// How near a certificate is to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Far,
    Near,
    Past,
}

/// Files as they were read.
struct Octets {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl KeptPair {
    /// Reads the files; a path without a root begins in `folder`.
    ///
    /// # Errors
    /// [`Fault`] if one cannot be read, if others may read the key, or if they do not fit.
    pub(super) fn open(files: &PairFiles, folder: &Path, now: Timestamp) -> Result<Self, Fault> {
        let [certificate, key] = [&files.certificate, &files.key].map(|path| folder.join(path));
        let files = PairFiles { certificate, key };
        let octets = Octets::read(&files)?;
        let (beside, life) = octets.parse(&files)?;
        let (read, end, trouble) = (octets.digest(), End::Far, None);
        let seen = Mutex::new(Seen { read, life, end, trouble });
        let pair = Self { files, shown: RwLock::new(Arc::new(beside)), seen };
        tracing::info!("nts-ke shows {} to strangers, until {}", pair.name(), life.1);
        pair.look(now);
        Ok(pair)
    }

    /// What is shown now.
    pub(super) fn shown(&self) -> Arc<Beside> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other files, if there are and they fit, and tells of an end that comes near.
    pub(super) fn look(&self, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match self.take(&mut seen) {
            Ok(()) => seen.trouble = None,
            Err(fault) => {
                let trouble = fault.to_string();
                if seen.trouble.as_ref() != Some(&trouble) {
                    let hint = fault.hint_text().unwrap_or_default();
                    tracing::warn!("the certificate of nts-ke stays as it is: {trouble} ({hint})");
                }
                seen.trouble = Some(trouble);
            }
        }
        let end = End::of(seen.life, now);
        if end != seen.end {
            self.tell(end, seen.life.1);
        }
        seen.end = end;
    }

    fn take(&self, seen: &mut Seen) -> Result<(), Fault> {
        let octets = Octets::read(&self.files)?;
        let read = octets.digest();
        if read == seen.read {
            return Ok(());
        }
        let (beside, life) = octets.parse(&self.files)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(beside);
        (seen.read, seen.life) = (read, life);
        tracing::info!("reloaded: {}, until {}", self.name(), life.1);
        Ok(())
    }

    fn tell(&self, end: End, until: Timestamp) {
        let name = self.name();
        match end {
            End::Far => {}
            End::Near => tracing::warn!("{name} ends at {until}: put another in its place"),
            End::Past => tracing::warn!("{name} ended at {until}, and nobody takes it any more"),
        }
    }

    fn name(&self) -> impl std::fmt::Display {
        self.files.certificate.display()
    }
}

impl End {
    fn of((begin, until): (Timestamp, Timestamp), now: Timestamp) -> Self {
        let near_s = NTS_CERTIFICATE_NEAR_S.min((until.s() - begin.s()) / 4);
        match until.s() - now.s() {
            ..0 => Self::Past,
            left_s if left_s <= near_s => Self::Near,
            _ => Self::Far,
        }
    }
}

impl Octets {
    fn read(files: &PairFiles) -> Result<Self, Fault> {
        let chain = files::read_bounded(&files.certificate, NTS_CHAIN_BYTES_MAX)?;
        let key = files::read_secret(&files.key, KEY_FILE_BYTES_MAX)?;
        Ok(Self { chain, key })
    }

    fn digest(&self) -> Digest {
        [sha256(&self.chain), sha256(&self.key)]
    }

    fn parse(&self, files: &PairFiles) -> Result<(Beside, (Timestamp, Timestamp)), Fault> {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let no_certificate = |what: &dyn std::fmt::Display| {
            Fault::failed(format!("{certificate}: {what}"))
                .hint("PEM: the server's certificate, then what stands between it and its root")
        };
        let no_key = |what: &dyn std::fmt::Display| {
            Fault::failed(format!("{key}: {what}")).hint(format!(
                "PEM, ECDSA, Ed25519 or RSA, without a passphrase: openssl pkey -in {key} -out FILE"
            ))
        };
        let chain =
            pem::certificates(&self.chain, NTS_CHAIN_MAX).map_err(|e| no_certificate(&e))?;
        let secret = pem::any_private_key(&self.key).map_err(|error: PemError| no_key(&error))?;
        let beside = Beside::new(chain, secret).map_err(|error| match error {
            BesideError::Certificate => no_certificate(&error),
            BesideError::Mismatch => {
                Fault::failed(format!("{key} is {error}, and not of {certificate}"))
                    .hint("put the key there with which the certificate was asked for")
            }
            BesideError::Key | BesideError::NotClassical => no_key(&error),
        })?;
        let life = dates(beside.leaf()).map_err(|error| no_certificate(&error))?;
        Ok((beside, life))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use host::files::Mode;
    use rcgen::{CertificateParams, KeyPair, RsaKeySize};

    use super::*;

    const DAY_S: i64 = 86_400;
    const NOW: Timestamp = Timestamp::from_s(1_795_000_000);

    /// A folder with the two files.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn files() -> PairFiles {
            PairFiles { certificate: "ke.pem".into(), key: "ke.key".into() }
        }

        fn open(&self) -> Result<KeptPair, Fault> {
            KeptPair::open(&Self::files(), self.0.path(), NOW)
        }

        fn put(&self, name: &str, text: &str) {
            files::write_atomic(&self.0.path().join(name), text.as_bytes(), Mode::Secret).unwrap();
        }

        /// A certificate of 90 days in the place of the one there is; its DER.
        fn put_pair(&self, key: &KeyPair, left_s: i64) -> Vec<u8> {
            let chain = certificate(key, left_s);
            self.put("ke.pem", &pem::encode(pem::CERTIFICATE, &chain));
            self.put("ke.key", &pem::encode(pem::PRIVATE_KEY, &key.serialize_der()));
            chain
        }

        fn refused(&self) -> (String, String) {
            let fault = self.open().err().unwrap();
            let hint = fault.hint_text().unwrap_or_default().to_owned();
            (fault.to_string().replace(&self.0.path().display().to_string(), "BUNDLE"), hint)
        }
    }

    fn key() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    fn certificate(key: &KeyPair, left_s: i64) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["time.example".to_owned()]).unwrap();
        params.not_before = NOW.plus_s(left_s - 90 * DAY_S).calendar();
        params.not_after = NOW.plus_s(left_s).calendar();
        params.self_signed(key).unwrap().der().to_vec()
    }

    fn seen(pair: &KeptPair) -> (End, Option<String>) {
        let seen = pair.seen.lock().unwrap();
        (seen.end, seen.trouble.clone())
    }

    #[test]
    fn a_renewed_pair_is_taken_and_half_of_one_is_not() {
        let place = Place::new();
        let (old, new) = (key(), key());
        let first = place.put_pair(&old, 20 * DAY_S);
        let pair = place.open().unwrap();
        assert_eq!(pair.shown().leaf(), first);
        // The certificate is there, its key not yet.
        let second = certificate(&new, 90 * DAY_S);
        place.put("ke.pem", &pem::encode(pem::CERTIFICATE, &second));
        pair.look(NOW);
        assert_eq!(pair.shown().leaf(), first);
        assert!(seen(&pair).1.unwrap().contains("the key of another certificate"));
        place.put("ke.key", &pem::encode(pem::PRIVATE_KEY, &new.serialize_der()));
        pair.look(NOW);
        assert_eq!(pair.shown().leaf(), second);
        assert_eq!(seen(&pair), (End::Far, None));
        // The same key can have another certificate.
        let third = place.put_pair(&new, 89 * DAY_S);
        pair.look(NOW);
        assert_eq!(pair.shown().leaf(), third);
    }

    #[test]
    fn whatever_becomes_of_the_files_the_last_good_pair_stays() {
        let place = Place::new();
        let first = place.put_pair(&key(), 20 * DAY_S);
        let pair = place.open().unwrap();
        let path = place.0.path().join("ke.key");
        let mode = |bits| std::fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
        let second = place.put_pair(&key(), 80 * DAY_S);
        mode(0o640);
        pair.look(NOW);
        assert!(seen(&pair).1.unwrap().contains("open to other users"));
        assert_eq!(pair.shown().leaf(), first);
        // A mode leaves no trace in the file, and is noticed all the same.
        mode(0o600);
        pair.look(NOW);
        assert_eq!((pair.shown().leaf(), seen(&pair).1), (&*second, None));
        std::fs::remove_file(place.0.path().join("ke.pem")).unwrap();
        pair.look(NOW);
        assert!(seen(&pair).1.unwrap().contains("does not exist"));
        place.put("ke.pem", "nothing");
        pair.look(NOW);
        assert!(seen(&pair).1.unwrap().contains("holds no CERTIFICATE"));
        assert_eq!(pair.shown().leaf(), second);
    }

    #[test]
    fn an_end_is_told_when_it_is_near_and_when_it_is_past() {
        let place = Place::new();
        let renewed = key();
        let _ = place.put_pair(&key(), 20 * DAY_S);
        let pair = place.open().unwrap();
        for (after_s, end) in [
            (6 * DAY_S - 1, End::Far),
            (6 * DAY_S, End::Near),
            (20 * DAY_S, End::Near),
            (20 * DAY_S + 1, End::Past),
        ] {
            pair.look(NOW.plus_s(after_s));
            assert_eq!(seen(&pair).0, end, "{after_s}");
        }
        let _ = place.put_pair(&renewed, 90 * DAY_S);
        pair.look(NOW.plus_s(20 * DAY_S + 1));
        assert_eq!(seen(&pair).0, End::Far);
        // A week's certificate is renewed by its last quarter.
        let week = (NOW, NOW.plus_s(8 * DAY_S));
        assert_eq!(End::of(week, NOW.plus_s(6 * DAY_S - 1)), End::Far);
        assert_eq!(End::of(week, NOW.plus_s(6 * DAY_S)), End::Near);
    }

    #[test]
    fn rsa_and_a_chain_are_taken() {
        let place = Place::new();
        let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let leaf = place.put_pair(&rsa, 50 * DAY_S);
        let between = certificate(&key(), 50 * DAY_S);
        let chain = [&leaf, &between].map(|der| pem::encode(pem::CERTIFICATE, der).to_string());
        place.put("ke.pem", &chain.concat());
        assert_eq!(place.open().unwrap().shown().leaf(), leaf);
        let long = chain[1].repeat(NTS_CHAIN_MAX);
        place.put("ke.pem", &format!("{}{long}", chain[0]));
        assert_eq!(place.refused().0, "BUNDLE/ke.pem: holds more than 8 CERTIFICATE sections");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_hint() {
        let place = Place::new();
        let refused = |what: &str, hint: &str| {
            let said = place.refused();
            assert_eq!(said.0, what);
            assert!(said.1.contains(hint), "{what}: {}", said.1);
        };
        refused("BUNDLE/ke.pem does not exist", "check the path");
        let _ = place.put_pair(&key(), 50 * DAY_S);
        std::fs::remove_file(place.0.path().join("ke.key")).unwrap();
        refused("BUNDLE/ke.key does not exist", "check the path");
        place.put("ke.key", &pem::encode(pem::PRIVATE_KEY, &key().serialize_der()));
        let another = "BUNDLE/ke.key is the key of another certificate, and not of BUNDLE/ke.pem";
        refused(another, "with which the certificate was asked for");
        place.put("ke.key", &pem::encode("ENCRYPTED PRIVATE KEY", b"key"));
        refused("BUNDLE/ke.key: holds no PRIVATE KEY section", "without a passphrase");
        place.put("ke.key", &pem::encode(pem::PRIVATE_KEY, b"key"));
        refused("BUNDLE/ke.key: no key of a kind that is known here", "openssl pkey");
        let of_ours = shared::key::PrivateKey::generate(shared::key::Algorithm::MlDsa44).unwrap();
        place.put("ke.key", &pem::encode(pem::PRIVATE_KEY, of_ours.pkcs8()));
        refused("BUNDLE/ke.key: not a key for ECDSA, Ed25519 or RSA", "openssl pkey");
        place.put("ke.pem", "");
        refused("BUNDLE/ke.pem: holds no CERTIFICATE section", "its root");
        let _ = place.put_pair(&key(), 50 * DAY_S);
        place.put("ke.pem", &pem::encode(pem::CERTIFICATE, b"certificate"));
        refused("BUNDLE/ke.pem: not a certificate", "its root");
        place.put("ke.key", &"x".repeat(KEY_FILE_BYTES_MAX + 1));
        refused("BUNDLE/ke.key is larger than 32768 bytes", "check");
        place.put("ke.pem", &"x".repeat(NTS_CHAIN_BYTES_MAX + 1));
        refused("BUNDLE/ke.pem is larger than 131072 bytes", "check");
    }

    #[test]
    fn a_key_that_others_may_read_is_none() {
        let place = Place::new();
        let _ = place.put_pair(&key(), 50 * DAY_S);
        let path = place.0.path().join("ke.key");
        for (bits, may) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
            assert_eq!(place.open().is_ok(), may, "{bits:o}");
        }
        let hint = format!("chmod 600 {}", path.display());
        assert_eq!(place.refused().1, hint);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let elsewhere = place.0.path().join("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(place.refused().0, "BUNDLE/ke.key is a symbolic link");
    }
}
