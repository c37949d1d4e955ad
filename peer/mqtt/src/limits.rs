//! Bounds of the MQTT endpoint, each with its argument.

/// Bytes of one packet, header included. The standard allows 256 MiB; what travels on a link is
/// cut into frames of 64 KiB, and a sensor's picture fits in one.
pub const PACKET_BYTES_MAX: u32 = 1024 * 1024;

/// Bytes of a first packet: an identifier, a will and a password, and nobody is known yet.
pub const CONNECT_BYTES_MAX: u32 = 128 * 1024;

/// Properties of one packet: each user property is a pair that has to be walked.
pub const PROPERTIES_MAX: usize = 128;

/// Filters in one SUBSCRIBE or UNSUBSCRIBE: each costs a look at the policy.
pub const FILTERS_PER_PACKET_MAX: usize = 1024;
