//! The authority's memory: one redb file, one writer, every change in one durable transaction.
//!
//! Tables hold versioned CBOR under keys that sort: big-endian numbers, names, serials.
//!
//! **Invariant:** a transaction that returns an error changes nothing; one that returns is on the
//! disk.
//! **Invariant:** a store of a newer format is refused, never read.

mod log;
mod record;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use host::files::FileError;
use redb::backends::FileBackend;
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};
use shared::id::{Serial, SpkiHash};
use shared::join::InvitationId;
use shared::name::NodeName;

pub use log::LogFault;
pub(crate) use log::newest;
pub use record::{
    Bar, CertRecord, Claim, Intent, Invitation, InvitationState, KeyRecord, LogRecord, NodeRecord,
    Span, Standing, Terms,
};

use crate::error::CaError;

/// The newest format this program knows.
pub const FORMAT: u32 = 1;

pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(crate) const META: Table = Table::new("meta");
const NODES: Table = Table::new("nodes");
const CERTS: Table = Table::new("certs");
const CERTS_OF: Table = Table::new("certs-of-node");
const INTENTS: Table = Table::new("intents");
const KEYS: Table = Table::new("keys");
const BARS: Table = Table::new("bars");
pub(crate) const FEED_ENTRIES: Table = Table::new("feed-entries");
pub(crate) const FEED_CHUNKS: Table = Table::new("feed-chunks");
const LOG: Table = Table::new("log");
const INVITATIONS: Table = Table::new("invitations");
const TABLES: [Table; 11] = [
    META,
    NODES,
    CERTS,
    CERTS_OF,
    INTENTS,
    KEYS,
    BARS,
    FEED_ENTRIES,
    FEED_CHUNKS,
    LOG,
    INVITATIONS,
];

/// Keys of [`META`].
pub(crate) mod meta {
    pub(crate) const FORMAT: &[u8] = b"format";
    pub(crate) const NETWORK: &[u8] = b"network";
    pub(crate) const LOG_HEAD: &[u8] = b"log-head";
    pub(crate) const FEED_HEAD: &[u8] = b"feed-head";
    pub(crate) const FEED_HEAD_AT: &[u8] = b"feed-head-at";
    pub(crate) const FEED_SNAPSHOT: &[u8] = b"feed-snapshot";
    pub(crate) const CRL: &[u8] = b"crl";
    pub(crate) const CRL_NUMBER: &[u8] = b"crl-number";
    pub(crate) const BOOT: &[u8] = b"boot";
    pub(crate) const POLICY: &[u8] = b"policy";
    pub(crate) const POLICY_AT: &[u8] = b"policy-at";
}

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// The open store.
pub struct Store {
    database: Database,
    /// Whether a write has failed: what is on the disk may be older or newer than what is known
    /// here, and redb writes no more.
    broken: AtomicBool,
}

fn wrong(error: impl Into<redb::Error>) -> CaError {
    CaError::Store(error.into().to_string())
}

impl Store {
    /// Makes a store that does not exist yet.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create(path: &Path, network: &str) -> Result<Self, CaError> {
        let file = options().create_new(true).open(path);
        let file = file.map_err(|e| FileError::from_io("make", path, e))?;
        let database = open_database(file)?;
        let store = Self { database, broken: AtomicBool::new(false) };
        store.write(|txn| {
            for table in TABLES {
                txn.0.open_table(table).map_err(wrong)?;
            }
            txn.put(META, meta::FORMAT, &FORMAT.to_be_bytes())?;
            txn.put(META, meta::NETWORK, network.as_bytes())
        })?;
        Ok(store)
    }

    /// Opens a store, and refuses one of a newer format.
    ///
    /// # Errors
    /// [`CaError::Format`], [`CaError::Damaged`] or what the disk says.
    pub fn open(path: &Path) -> Result<Self, CaError> {
        let file: File = options().open(path).map_err(|e| FileError::from_io("open", path, e))?;
        let database = open_database(file)?;
        let store = Self { database, broken: AtomicBool::new(false) };
        let format = store.read()?.get(META, meta::FORMAT)?;
        let found = format.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        match found {
            Some(FORMAT) => Ok(store),
            Some(found) => Err(CaError::Format { found, known: FORMAT }),
            None => Err(CaError::Damaged("the store does not say its format".to_owned())),
        }
    }

    /// A consistent view.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn read(&self) -> Result<View, CaError> {
        Ok(View(self.database.begin_read().map_err(wrong)?))
    }

    /// One durable transaction: all of `change`, or nothing.
    ///
    /// # Errors
    /// What `change` or the disk says; nothing has changed then.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&Txn) -> Result<T, CaError>,
    ) -> Result<T, CaError> {
        let done = self.transact(change);
        if matches!(done, Err(CaError::Store(_))) {
            self.broken.store(true, Ordering::Relaxed);
        }
        done
    }

    /// Whether the disk has failed: only opening the store anew says what is on it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn transact<T>(&self, change: impl FnOnce(&Txn) -> Result<T, CaError>) -> Result<T, CaError> {
        let txn = Txn(self.database.begin_write().map_err(wrong)?);
        match change(&txn) {
            Ok(value) => {
                txn.0.commit().map_err(wrong)?;
                Ok(value)
            }
            Err(error) => {
                txn.0.abort().map_err(wrong)?;
                Err(error)
            }
        }
    }
}

fn open_database(file: File) -> Result<Database, CaError> {
    let backend = FileBackend::new(file).map_err(wrong)?;
    Database::builder().create_with_backend(backend).map_err(wrong)
}

fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    options
}

/// What a table holds.
pub(crate) trait Stored: for<'b> minicbor::Decode<'b, ()> {}

impl<T: for<'b> minicbor::Decode<'b, ()>> Stored for T {}

/// Reading, inside or outside a transaction.
pub(crate) trait Reads {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, CaError>;

    /// Everything whose key begins with `prefix`, in order.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>, CaError>;

    /// Reads at most `max` records from a key on, in order, and makes something of each.
    fn from<T: Stored, U>(
        &self,
        table: Table,
        key: &[u8],
        max: usize,
        make: impl FnMut(T) -> Result<U, CaError>,
    ) -> Result<Vec<U>, CaError>;

    fn number(&self, key: &[u8]) -> Result<u64, CaError> {
        let bytes = self.get(META, key)?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    fn node(&self, node: &NodeName) -> Result<Option<NodeRecord>, CaError> {
        self.one(NODES, node.as_str().as_bytes())
    }

    /// At most `max` nodes by name, those after one of them, and what is made of each.
    fn nodes_after<U>(
        &self,
        after: Option<&NodeName>,
        max: usize,
        make: impl FnMut(NodeRecord) -> Result<U, CaError>,
    ) -> Result<Vec<U>, CaError> {
        // No name has a zero octet: this is the first key after the name's own.
        let from = after.map(node_key).unwrap_or_default();
        self.from(NODES, &from, max, make)
    }

    fn cert(&self, serial: &Serial) -> Result<Option<CertRecord>, CaError> {
        self.one(CERTS, serial.as_bytes())
    }

    /// All certificates of a node.
    fn certs_of(&self, node: &NodeName) -> Result<Vec<CertRecord>, CaError> {
        let mut certs = Vec::new();
        for (_, serial) in self.scan(CERTS_OF, &node_key(node))? {
            let cert: Option<CertRecord> = self.one(CERTS, &serial)?;
            certs.push(cert.ok_or_else(|| {
                CaError::Damaged(format!("a certificate of {node} is missing in the store"))
            })?);
        }
        Ok(certs)
    }

    /// How long a node's certificates last; perhaps without those that have ended.
    fn spans_of(&self, record: &mut NodeRecord) -> Result<Vec<Span>, CaError> {
        match record.spans.take() {
            Some(spans) => Ok(spans),
            None => Ok(self.certs_of(&record.node)?.iter().map(CertRecord::span).collect()),
        }
    }

    fn intents(&self) -> Result<Vec<Intent>, CaError> {
        self.all(INTENTS, &[])
    }

    fn key(&self, spki: &SpkiHash) -> Result<Option<KeyRecord>, CaError> {
        self.one(KEYS, spki.as_bytes())
    }

    fn bars(&self) -> Result<Vec<Bar>, CaError> {
        self.all(BARS, &[])
    }

    fn bar(&self, serial: &Serial) -> Result<Option<Bar>, CaError> {
        self.one(BARS, serial.as_bytes())
    }

    fn invitation(&self, id: &InvitationId) -> Result<Option<Invitation>, CaError> {
        self.one(INVITATIONS, id.as_bytes())
    }

    fn invitations(&self) -> Result<Vec<Invitation>, CaError> {
        self.all(INVITATIONS, &[])
    }

    fn serial_is_known(&self, serial: &Serial) -> Result<bool, CaError> {
        let key = serial.as_bytes();
        Ok(self.get(CERTS, key)?.is_some() || self.get(INTENTS, key)?.is_some())
    }

    fn one<T: Stored>(&self, table: Table, key: &[u8]) -> Result<Option<T>, CaError> {
        self.get(table, key)?.map(|bytes| record::from_bytes(&bytes)).transpose()
    }

    fn all<T: Stored>(&self, table: Table, prefix: &[u8]) -> Result<Vec<T>, CaError> {
        self.scan(table, prefix)?.iter().map(|(_, bytes)| record::from_bytes(bytes)).collect()
    }
}

/// A consistent view of the store.
pub(crate) struct View(ReadTransaction);

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A transaction that is being written.
pub(crate) struct Txn(WriteTransaction);

fn get_from(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, CaError> {
    Ok(table.get(key).map_err(wrong)?.map(|guard| guard.value().to_vec()))
}

fn scan_from(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &[u8],
) -> Result<Vec<Pair>, CaError> {
    let mut pairs = Vec::new();
    for pair in table.range::<&[u8]>(prefix..).map_err(wrong)? {
        let (key, value) = pair.map_err(wrong)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        pairs.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(pairs)
}

fn page_from<T: Stored, U>(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
    max: usize,
    mut make: impl FnMut(T) -> Result<U, CaError>,
) -> Result<Vec<U>, CaError> {
    let length = usize::try_from(table.len().map_err(wrong)?).unwrap_or(max);
    let mut all = Vec::with_capacity(length.min(max));
    for pair in table.range::<&[u8]>(key..).map_err(wrong)?.take(max) {
        let (_, value) = pair.map_err(wrong)?;
        all.push(make(record::from_bytes(value.value())?)?);
    }
    Ok(all)
}

impl Reads for View {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, CaError> {
        self.table(table)?.map_or(Ok(None), |table| get_from(&table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>, CaError> {
        self.table(table)?.map_or(Ok(Vec::new()), |table| scan_from(&table, prefix))
    }

    fn from<T: Stored, U>(
        &self,
        table: Table,
        key: &[u8],
        max: usize,
        make: impl FnMut(T) -> Result<U, CaError>,
    ) -> Result<Vec<U>, CaError> {
        self.table(table)?.map_or(Ok(Vec::new()), |table| page_from(&table, key, max, make))
    }
}

impl View {
    /// A table; nothing if the store was made before there was such a table.
    fn table(&self, table: Table) -> Result<Option<OpenTable>, CaError> {
        match self.0.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(wrong(error)),
        }
    }
}

impl Reads for Txn {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, CaError> {
        get_from(&self.0.open_table(table).map_err(wrong)?, key)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>, CaError> {
        scan_from(&self.0.open_table(table).map_err(wrong)?, prefix)
    }

    fn from<T: Stored, U>(
        &self,
        table: Table,
        key: &[u8],
        max: usize,
        make: impl FnMut(T) -> Result<U, CaError>,
    ) -> Result<Vec<U>, CaError> {
        page_from(&self.0.open_table(table).map_err(wrong)?, key, max, make)
    }
}

impl Txn {
    pub(crate) fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), CaError> {
        self.0.open_table(table).map_err(wrong)?.insert(key, value).map_err(wrong)?;
        Ok(())
    }

    pub(crate) fn remove(&self, table: Table, key: &[u8]) -> Result<(), CaError> {
        self.0.open_table(table).map_err(wrong)?.remove(key).map_err(wrong)?;
        Ok(())
    }

    pub(crate) fn clear(&self, table: Table) -> Result<(), CaError> {
        self.0.delete_table(table).map_err(wrong)?;
        self.0.open_table(table).map_err(wrong)?;
        Ok(())
    }

    pub(crate) fn put_number(&self, key: &[u8], value: u64) -> Result<(), CaError> {
        self.put(META, key, &value.to_be_bytes())
    }

    pub(crate) fn put_node(&self, record: &NodeRecord) -> Result<(), CaError> {
        self.put(NODES, record.node.as_str().as_bytes(), &record::to_bytes(record)?)
    }

    pub(crate) fn put_cert(&self, record: &CertRecord) -> Result<(), CaError> {
        let serial = record.serial.as_bytes();
        self.put(CERTS, serial, &record::to_bytes(record)?)?;
        let mut key = node_key(&record.node);
        key.extend_from_slice(serial);
        self.put(CERTS_OF, &key, serial)?;
        let owner = KeyRecord { node: record.node.clone(), at: record.issued_at };
        self.put(KEYS, record.spki.as_bytes(), &record::to_bytes(&owner)?)
    }

    pub(crate) fn put_intent(&self, intent: &Intent) -> Result<(), CaError> {
        self.put(INTENTS, intent.serial.as_bytes(), &record::to_bytes(intent)?)
    }

    pub(crate) fn remove_intent(&self, serial: &Serial) -> Result<(), CaError> {
        self.remove(INTENTS, serial.as_bytes())
    }

    pub(crate) fn put_bar(&self, bar: &Bar) -> Result<(), CaError> {
        self.put(BARS, bar.serial.as_bytes(), &record::to_bytes(bar)?)
    }

    pub(crate) fn put_invitation(&self, invitation: &Invitation) -> Result<(), CaError> {
        self.put(INVITATIONS, invitation.id.as_bytes(), &record::to_bytes(invitation)?)
    }

    pub(crate) fn remove_invitation(&self, id: &InvitationId) -> Result<(), CaError> {
        self.remove(INVITATIONS, id.as_bytes())
    }

    pub(crate) fn remove_bar(&self, serial: &Serial) -> Result<(), CaError> {
        self.remove(BARS, serial.as_bytes())
    }
}

/// A name ends where a byte comes that no name has, so that `bob` is no prefix of `bobby`.
fn node_key(node: &NodeName) -> Vec<u8> {
    let mut key = node.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_and_says_so() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store.redb");
        let store = Store::create(&path, "a.b").unwrap();
        store.write(|txn| txn.put(META, meta::FORMAT, &9_u32.to_be_bytes())).unwrap();
        drop(store);
        let refused = Store::open(&path).err().unwrap();
        assert!(matches!(refused, CaError::Format { found: 9, known: 1 }));
        assert!(refused.hint().unwrap().contains("newer"));
    }

    #[test]
    fn a_refused_transaction_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::create(&place.path().join("store.redb"), "a.b").unwrap();
        let refused: Result<(), _> = store.write(|txn| {
            txn.put_number(meta::BOOT, 7)?;
            Err(CaError::Unusable)
        });
        assert!(refused.is_err());
        assert_eq!(store.read().unwrap().number(meta::BOOT).unwrap(), 0);
    }
}
