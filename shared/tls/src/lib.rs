//! TLS as both programs use it: the verifier seen through rustls, and two configurations.
//!
//! rustls is a state machine without sockets, and so is this crate. It stands between `shared` and
//! the two programs because both dial: a rule about who is let in must not be written twice.
//!
//! What is decided here, for both directions: TLS 1.3 only, mutual, hybrid post-quantum key
//! exchange first, no tickets, no session storage, no early data, no SNI, our own verifier (but for
//! `engine.rs`: servers that are no peers), our own certificate (but for `beside.rs`: the time).
//! Resumption is off because a resumed handshake calls no verifier: a revoked node would come back
//! by its ticket.
//!
//! **Invariant:** every handshake runs the verifier, and its verdict can be taken exactly once.

mod alert;
mod beside;
mod cold;
mod config;
mod door;
mod engine;
mod foreign;
mod verdict;

pub use alert::{Role, refusal_of};
pub use beside::{Beside, BesideError};
pub use config::{
    ALPN_MQTT, ALPN_NTSKE, Clients, Dialler, Identity, Listener, TlsError, server_name, warm_up,
};
pub use door::{ALPN_HTTP, Pinned, Presented, pinned_config};
pub use foreign::{Dates, anonymous_config};
pub use verdict::Verdict;

use std::sync::Arc;

use shared::time::Timestamp;

/// Where the time comes from; the daemon gives the machine's clock, a test any other.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
