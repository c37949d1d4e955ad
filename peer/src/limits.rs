//! The bounds of the bundle, the inbox and the control socket, each with its argument.

/// Bytes of a private key file; an ML-DSA-87 key in PEM is under 8 KiB.
pub const KEY_FILE_BYTES_MAX: usize = 32 * 1024;
/// Peers named in one `node.yaml`: the largest mesh of this kind has a hundred nodes.
pub const PEERS_MAX: usize = 128;

/// Messages in an inbox unless `node.yaml` says otherwise: a day of one every nine seconds.
pub const INBOX_COUNT: u64 = 10_000;
/// Messages in an inbox at most, whatever `node.yaml` says; listing stays under a second.
pub const INBOX_COUNT_MAX: u64 = 1_000_000;
/// Bytes of all bodies in an inbox unless `node.yaml` says otherwise.
pub const INBOX_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of all bodies in an inbox at most, whatever `node.yaml` says.
pub const INBOX_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Stored messages whose identity is remembered after they were cleared, so that a sender's
/// repetition is not stored again: a repetition comes within seconds of the first.
pub const INBOX_SEEN_EXTRA: u64 = 10_000;
/// Messages that wait for the inbox's thread; beyond it the links wait, and TCP with them.
pub const INBOX_QUEUE: usize = 1024;
/// Messages in one durable commit: 256 of 60 KiB are 15 MiB held in memory.
pub const INBOX_GROUP: usize = 256;
/// Messages read in one listing: a page of 256 bodies is at most 15 MiB.
pub const INBOX_PAGE: usize = 256;

/// Bytes of one line on the control socket: a 60 KiB body in base64 is 80 KiB.
pub const CONTROL_LINE_BYTES_MAX: usize = 128 * 1024;
/// Commands served at once; a person has a few terminals, scripts wait for their turn.
pub const CONTROL_CLIENTS_MAX: usize = 16;
/// How long a client may take to say what it wants, in milliseconds.
pub const CONTROL_REQUEST_MS: u64 = 5_000;
/// How long a client may take to read one reply, in milliseconds.
pub const CONTROL_REPLY_MS: u64 = 30_000;
/// How long a command waits for the daemon's next reply, beyond what it asked the daemon to wait.
pub const CONTROL_ANSWER_MS: u64 = 60_000;
/// How long `peer send` lets a message take unless told otherwise, in milliseconds.
pub const SEND_WAIT_MS: u64 = 10_000;
/// Pings in one `peer ping`.
pub const PINGS_MAX: u32 = 10_000;
/// Refusals that `peer status` shows: the newest.
pub const EVENTS_MAX: usize = 32;
