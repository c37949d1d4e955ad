//! Links: TCP, mutual TLS and frames, from the door to the last byte.
//!
//! A connection comes through the [`Gate`], becomes [`Secured`] by [`accept`] or [`dial`] (its
//! greeting is read and written there, one body at a time), and is then started: one task moves
//! frames from the socket to a [`Sink`] and from a [`Queue`] to the socket. What is said, and
//! whether the link may live, is not decided here.
//!
//! **Invariant:** a [`Secured`] exists only with a `Verified<Member>` of its own handshake.
//! **Invariant:** after [`KillSwitch::kill`] no byte is read or written, and none waits in a queue.

mod circuit;
mod connect;
mod engine;
mod failure;
mod gate;
mod handshake;
mod kill;
mod live;
mod queue;
mod secured;
mod splice;
#[cfg(test)]
mod tests;

pub use circuit::{Relay, Tunnel, reach};
pub use connect::{hasten, meet, share_port};
pub use engine::{dial_engine, dial_foreign, dial_plain, failure_of};
pub use failure::{By, Failure};
pub use gate::{Bounds, Gate, Pass};
pub use handshake::{
    Patience, accept, accept_client, accept_through, accept_with, dial, dial_through, dial_with,
    secure_as_dialler,
};
pub use kill::{Guarded, KillSwitch};
pub use live::{End, Sink};
pub use queue::{Class, Queue, QueueError};
pub use secured::{Protocol, Secured};
pub use splice::{Allowance, splice};
pub use tls::Role;
