//! The feed: the authority's numbered, hash-chained, signed list of revocations and suspensions.
//!
//! [`Entry`] is one act; its hash covers the hash before it. [`Head`] signs a number and the hash
//! there, so that one signature covers all that came before and two heads with one number and two
//! hashes are a proof of equivocation that anybody can check. [`Snapshot`] stands for all entries
//! up to a number, less those whose certificates have expired. [`Feed`] is what a holder believes;
//! [`RevocationSet`] is the same as a look-up of well under a microsecond. An RFC 5280 CRL is a
//! projection of it for outside tools.
//!
//! **Invariant:** numbers only go up; a [`Feed`] changes only by [`Feed::apply`].

mod entry;
mod file;
mod head;
mod set;
mod staging;
mod state;

pub use entry::{Act, CertRef, Entry, Reason};
pub use file::{read_file, write_file};
pub use head::{Head, Snapshot, chunk_entries};
pub use set::{ChainIds, LeafIds, Mark, RevocationSet, Status};
pub use staging::{Part, Refused, Staging, Update};
pub use state::{Feed, FeedError, News, Position};
