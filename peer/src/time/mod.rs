//! The mesh clock in the daemon: sockets, files and the machine's count around the pure crates
//! `clock` and `nts`.
//!
//! [`keep`] owns the keeper and drives it; [`ask`] asks one source; [`floor`] keeps the floor on
//! the disk; `tell` answers whoever asks us, and over [`links`] members get keys for that. What the
//! process reads the time from is the [`Kept`] that a start gives out.
//!
//! **Invariant:** the system's clock is read here, and set by nobody.

pub mod ask;
mod figures;
pub mod floor;
mod keep;
pub mod links;
mod shown;
pub(crate) mod tell;
mod told;

pub use keep::{Keep, Kept, Ordered, Roll, begin};
pub use shown::{Clockwork, Shown};
