//! A new authority: root, issuing, keys at rest, store, an empty signed feed and an empty CRL.
//!
//! Everything is made in a folder beside the final one, which gets its name last: whoever is
//! interrupted has no authority, and never half of one.
//!
//! **Invariant:** the root key signs itself and one issuing certificate here, and is then put away.

use std::path::Path;
use std::sync::Arc;

use host::files::{self, Mode};
use host::passphrase::Passphrase;
use host::seal::{Cost, Keyring};
use shared::cert::{CaSigner, Draft, Subject};
use shared::feed::Head;
use shared::id::Serial;
use shared::key::{Algorithm, PrivateKey};
use shared::name::{Label, NetworkName};
use shared::pem;
use shared::time::Timestamp;

use super::ledger::store_crl;
use super::registry::{Clock, Registry};
use super::{Authority, ISSUING_LABEL, write_sealed};
use crate::error::CaError;
use crate::layout::{Layout, build_folder};
use crate::profiles;
use crate::settings::Settings;
use crate::store::{META, Store, meta};

/// What a new authority is to be.
pub struct Init {
    /// The network.
    pub network: NetworkName,
    /// The algorithm of all keys.
    pub algorithm: Algorithm,
    /// What the keys are encrypted under; `None` leaves them protected by file modes alone.
    pub passphrase: Option<Passphrase>,
    /// How slow the passphrase hash is; [`Cost::STANDARD`] outside tests.
    pub cost: Cost,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Init {
    /// An authority with the machine's clock and the standard cost.
    #[must_use]
    pub fn new(network: NetworkName, algorithm: Algorithm, passphrase: Option<Passphrase>) -> Self {
        let clock: Clock = Arc::new(host::clock::wall);
        Self { network, algorithm, passphrase, cost: Cost::STANDARD, clock }
    }
}

impl Authority {
    /// Makes a new authority in a folder that does not exist yet.
    ///
    /// # Errors
    /// [`CaError::Exists`], or what the disk says; nothing is left behind then.
    pub fn init(folder: &Path, init: &Init) -> Result<(), CaError> {
        build_folder(folder, |temp| {
            let layout = Layout::new(temp);
            for folder in layout.folders() {
                files::make_private_dir(&folder)?;
            }
            let (signer, keyring) = make_keys(&layout, init)?;
            let settings = Settings::new(init.network.clone(), init.algorithm);
            settings.write(&layout.settings())?;
            let store = Store::create(&layout.store(), init.network.as_str())?;
            sign_first(&layout, &store, &signer, &settings, init)?;
            let clock = Arc::clone(&init.clock);
            let registry = Registry::assemble(layout, settings, store, clock, None)?;
            let authority = Self::assemble(registry, signer, keyring);
            authority.make_identity()?;
            authority.write_projections()
        })
    }
}

fn make_keys(layout: &Layout, init: &Init) -> Result<(CaSigner, Keyring), CaError> {
    let (keyring, bytes) = Keyring::create(init.passphrase.as_ref(), init.cost)?;
    files::write_new(&layout.keyring(), &bytes, Mode::Secret)?;
    let now = (init.clock)();
    let root_key = PrivateKey::generate(init.algorithm)?;
    write_sealed(&layout.root_key(), &keyring, "root.key", &root_key)?;
    let root = CaSigner::new_root(&draft(layout, init, "root", &root_key, now)?, root_key)?;
    let key = PrivateKey::generate(init.algorithm)?;
    write_sealed(&layout.issuing_key(), &keyring, ISSUING_LABEL, &key)?;
    let issuing = root.sign(&draft(layout, init, "issuing", &key, now)?)?;
    let root_pem = pem::encode(pem::CERTIFICATE, &root.cert().der);
    let issuing_pem = pem::encode(pem::CERTIFICATE, &issuing);
    for (path, text) in [
        (layout.root_cert(), &root_pem),
        (layout.trust(), &root_pem),
        (layout.issuing_cert(), &issuing_pem),
    ] {
        files::write_new(&path, text.as_bytes(), Mode::Public)?;
    }
    Ok((CaSigner::new(&issuing, key)?, keyring))
}

fn draft(
    layout: &Layout,
    init: &Init,
    name: &str,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<Draft, CaError> {
    let name = Label::parse(name).map_err(|e| CaError::Damaged(e.to_string()))?;
    let profile = profiles::load(layout, &name)?;
    Ok(Draft {
        network: init.network.clone(),
        subject: Subject::Authority,
        public: key.public().clone(),
        serial: Serial::from_random(host::random::bytes()?),
        not_before: now.plus_s(-profile.backdate_s),
        not_after: now.plus_s(profile.life_s),
        profile,
    })
}

/// The empty feed and CRL, signed, and the first record of the log, in one transaction.
fn sign_first(
    layout: &Layout,
    store: &Store,
    signer: &CaSigner,
    settings: &Settings,
    init: &Init,
) -> Result<(), CaError> {
    let root = files::read_bounded(&layout.trust(), shared::limits::CERT_FILE_BYTES_MAX)?;
    let roots = pem::certificates(&root, 1)?;
    let anchors = shared::verify::Anchors::new(init.network.clone(), &roots)?;
    let now = (init.clock)();
    let network = &init.network;
    let life_s = settings.feed_life_s;
    let signing = super::ledger::Signing { signer, network, anchors: &anchors, life_s };
    let hash = shared::feed::Feed::empty(network.clone()).hash();
    let head = Head { number: 0, hash, at: now, next_update: now.plus_s(life_s) };
    let signed = head.sign(network, signer)?;
    store.write(|txn| {
        txn.put(META, meta::FEED_HEAD, &signed)?;
        txn.put_number(meta::FEED_HEAD_AT, u64::try_from(now.ms()).unwrap_or(0))?;
        store_crl(txn, &signing, now)?;
        let detail = format!("{}, issuing key {}", init.algorithm, signer.cert().key_id);
        txn.log(now, "init", network.as_str(), detail)
    })
}
