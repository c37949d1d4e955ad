//! The file of the endpoint, `mqtt.redb`: one writer, and one sync for all that gathered meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use host::fault::Fault;
use mqtt::journal::{Change, Group, Table};
use mqtt::{Broker, Hold};
use redb::{
    Durability, Error, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use shared::time::Timestamp;

use crate::ledger::{Desk, Ledger, Shelf};
use crate::limits::MQTT_GROUPS_WAITING_MAX;
use crate::store::StoreError;

/// How long a row waits that nobody waits for.
const UNHURRIED: Duration = Duration::from_millis(100);

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.as_str())
}

/// The open file.
pub(super) struct Disk {
    shelf: Arc<Shelf>,
    desk: Desk<Group>,
}

impl Disk {
    /// Opens it.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |error: StoreError| Fault::failed(error.to_string()).hint(error.hint());
        let shelf = Shelf::open(path).map_err(fault)?;
        let bounds = (MQTT_GROUPS_WAITING_MAX, 1);
        let desk = Desk::start("mqtt-disk", Arc::clone(&shelf), Rows, bounds)
            .map_err(|error| Fault::failed(format!("no thread for {}: {error}", path.display())))?;
        Ok(Self { shelf, desk })
    }

    /// Gives the endpoint what it held; rows that cannot be read are dropped.
    pub(super) fn recall(&self, broker: &Broker, now: Timestamp) -> Result<(), Fault> {
        let read = self.shelf.with(|database| {
            let txn = database.begin_read()?;
            for table in Table::ALL {
                let rows = match txn.open_table(definition(table)) {
                    Ok(rows) => rows,
                    Err(redb::TableError::TableDoesNotExist(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                for row in rows.iter()? {
                    let (key, value) = row?;
                    if broker.recall(table, key.value(), value.value(), now).is_none() {
                        let key = key.value().to_vec();
                        broker.journal.write(table, key, Change::Gone, None);
                    }
                }
            }
            Ok(())
        });
        read.map_err(|error| Fault::failed(error.to_string()).hint(error.hint()))
    }

    /// Hands what gathers to the writer, at once where somebody waits for it; ends never.
    pub(super) async fn run(self, broker: Arc<Broker>) {
        let mut turn = tokio::time::interval(UNHURRIED);
        loop {
            let group = tokio::select! {
                group = std::future::poll_fn(|cx| broker.journal.poll_held(cx)) => group,
                _ = turn.tick() => match broker.journal.take() {
                    Some(group) => group,
                    None => continue,
                },
            };
            let Some(orders) = self.desk.orders() else { return };
            if orders.send(group).await.is_err() {
                return;
            }
        }
    }
}

struct Rows;

/// A table of an open transaction.
type Open<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

impl Ledger for Rows {
    type Order = Group;
    type Ready = Hold;

    fn apply(
        &mut self,
        txn: &WriteTransaction,
        group: Vec<Group>,
        ready: &mut Vec<Hold>,
    ) -> Result<Durability, Error> {
        for Group { changes, holds } in group {
            ready.extend(holds);
            let mut open: Option<(Table, Open<'_>)> = None;
            for ((table, key), change) in changes {
                if open.as_ref().is_none_or(|(known, _)| *known != table) {
                    // One is closed before the next is opened.
                    drop(open.take());
                    open = Some((table, txn.open_table(definition(table))?));
                }
                let Some((_, rows)) = &mut open else { continue };
                match change {
                    Change::Added(value) | Change::Put(value) => {
                        rows.insert(key.as_slice(), value.as_slice())?;
                    }
                    Change::Gone => {
                        rows.remove(key.as_slice())?;
                    }
                }
            }
        }
        Ok(Durability::Immediate)
    }

    fn done(&mut self, ready: Vec<Hold>) {
        drop(ready);
    }

    fn failed(&mut self, ready: Vec<Hold>, error: &StoreError) {
        tracing::error!("messages could not be made safe: {error}");
        ready.into_iter().for_each(Hold::fail);
    }
}
