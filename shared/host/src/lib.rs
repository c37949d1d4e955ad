//! The one door to the machine: files, terminal, clock, YAML, passphrases, keys at rest.
//!
//! What the cores may not touch is touched here, in small rooms with typed errors, so that a reader
//! who asks "who can write to my disk?" has one crate to read. No sockets and no runtime: the
//! daemons own those.
//!
//! **Invariant:** no function here reads or waits without a bound that it is given or names.

pub mod clock;
pub mod fault;
pub mod files;
pub mod kernel;
pub mod lock;
pub mod log;
pub mod open_files;
pub mod passphrase;
pub mod random;
pub mod seal;
pub mod terminal;
pub mod watch;
pub mod yaml;
