//! The bounds of the authority's door, each with its argument.

use std::time::Duration;

/// Connections at once: an idle one costs about 30 kB.
pub(super) const CONNECTIONS_MAX: usize = 2048;
/// Files there should be room for: the connections, and the mesh, the store and the socket.
pub(super) const FILES_WANTED: u64 = 4096;
/// Of these from one address (an IPv6 host owns its /64): a site behind one NAT.
pub(super) const CONNECTIONS_PER_ADDRESS: usize = 256;
/// Handshakes one address may begin after a pause: all machines of a site after a power cut.
pub(super) const HANDSHAKES_BURST: u32 = 4096;
/// And per second thereafter: what two cores can shake hands with.
pub(super) const HANDSHAKES_PER_SECOND: u32 = 1024;
/// Addresses remembered, at about 100 bytes each.
pub(super) const ADDRESSES_MAX: usize = 65_536;
/// Requests refused to one address before it has to wait: a person mistypes a few times.
pub(super) const REFUSALS_BURST: u32 = 20;
/// And per second thereafter. A secret has 256 bits: this bounds the noise, not the guessing.
pub(super) const REFUSALS_PER_SECOND: u32 = 1;
/// A handshake: one over a satellite takes two seconds.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// The head of a request: it is a few hundred bytes.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// A connection in all; who waits for approval comes again.
pub(super) const CONNECTION: Duration = Duration::from_secs(60);
/// Bytes of a request: one for ML-DSA-87 has 7.6 kB.
pub(super) const BODY_BYTES_MAX: usize = 40 * 1024;
/// Bytes hyper may hold of one connection.
pub(super) const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Certificates being signed at once: what two steps of the queue take.
pub(super) const ACTS_MAX: usize = 128;
/// How long a stop waits for answers under way.
pub(super) const STOP: Duration = Duration::from_secs(5);
/// How often it is looked whether the disk has failed: an answer under way goes out first.
pub(super) const LOOK: Duration = Duration::from_millis(500);
