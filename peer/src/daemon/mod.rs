//! The daemon: sockets, files, clock and signals around the pure node of `peer-core`.
//!
//! `start.rs` puts everything together and takes it apart again; `driver.rs` is the loop that owns
//! the node; `fabric.rs` is how links come and go; `connection.rs` is one connection from TCP to
//! its last frame. Data flows one way: tasks send [`news::News`] to the driver, the driver performs
//! the node's actions on the fabric.
//!
//! **Invariant:** only the driver touches the node, and the driver never waits for a link.

mod authority;
mod broadcast;
mod circuits;
mod connection;
mod control;
mod delivery;
mod driver;
mod evidence;
mod fabric;
mod finding;
mod interfaces;
mod lan;
mod listening;
mod live;
mod meeting;
mod news;
mod nodes;
mod policy;
mod post;
mod posting;
mod relayed;
mod reload;
mod renewal;
mod saving;
mod shown;
mod start;
mod telling;
mod time;
mod view;

pub use authority::{Acknowledgement, NewsError, RenewalRequest, Spread};
pub use broadcast::Broadcaster;
pub use fabric::{DirectFabric, Fabric};
pub use interfaces::advertised;
pub use live::{Courier, Listener};
pub use peer_core::{Of, Urgency};
pub use post::{gone_item, waiting};
pub use start::{Daemon, FindBy, Start, run};
