//! Every bound that both the authority and the peers rely on, each with its argument.
//!
//! A bound that only peers know lives in `peer-core`'s own `limits.rs`.

/// Longest network name in bytes: the DNS limit (RFC 1035 §2.3.4) less room for a node label.
pub const NETWORK_NAME_BYTES_MAX: usize = 189;
/// Longest label (node, group, role) in bytes: one DNS label (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// Groups on one certificate. Thirty-two labels still leave a P-256 chain under 4 KiB.
pub const GROUPS_MAX: usize = 32;
/// Roles on one certificate: there are fewer than ten roles, sixteen leaves room.
pub const ROLES_MAX: usize = 16;
/// Relays named in a presence: one may fail, and one more for the way back.
pub const RELAYS_MAX: usize = 3;
/// Addresses in one offer to meet directly: the one a relay sees, and one on a common LAN. More
/// would only serve to aim us at somebody.
pub const PUNCH_ADDRESSES_MAX: usize = 2;
/// Numbers of statements in one frame: 48 KiB of them, so that a frame is never refused for them.
pub const SPREAD_IDS_MAX: usize = 6144;
/// Rules of a policy: a hundred is a large one, and a page of text each would be unreadable.
pub const POLICY_RULES_MAX: usize = 256;
/// Quotas of a policy.
pub const POLICY_QUOTAS_MAX: usize = 64;
/// Filters and other grants in one rule.
pub const POLICY_GRANTS_MAX: usize = 64;
/// Nodes, groups and roles in one rule: who needs more makes a group.
pub const POLICY_NAMES_MAX: usize = 256;
/// A policy without its signature: with one and its chain it fits a frame.
pub const POLICY_BYTES_MAX: usize = 32 * 1024;
/// A topic or topic filter: MQTT allows 65,535 octets, no program uses a tenth of it.
pub const TOPIC_BYTES_MAX: usize = 1024;
/// Extra DNS names and IP addresses on one certificate.
pub const ALT_NAMES_MAX: usize = 32;

/// Certificates in a presented chain: node, issuing, and a root that some tools send along.
pub const CHAIN_CERTS_MAX: usize = 3;
/// Bytes in a presented chain. ML-DSA-87 certificates are 7.6 kB each; three and some extensions
/// fit, and a stranger's 61-certificate path bomb does not.
pub const CHAIN_BYTES_MAX: usize = 32 * 1024;
/// Bytes in a chain of classical certificates; a P-256 chain is about 1 kB.
pub const CHAIN_BYTES_CLASSICAL_MAX: usize = 16 * 1024;
/// Trust anchors in one trust file: an old root, a new root and room for a botched rotation.
pub const ANCHORS_MAX: usize = 8;
/// Bytes of a PEM or DER file of certificates that a person hands in.
pub const CERT_FILE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a certificate request; an ML-DSA-87 request is about 7.4 kB.
pub const CSR_BYTES_MAX: usize = 32 * 1024;
/// Bytes of an RFC 5280 CRL handed to `ca-tool verify`: a million entries of 48 bytes.
pub const CRL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest life of a node certificate, in days (design: 1 h to 90 d). Feed entries about a name
/// must be kept this long, because a certificate that nobody remembers dies by then.
pub const NODE_LIFE_DAYS_MAX: i64 = 90;
/// How far notBefore lies in the past, in seconds: clocks that are slow by five minutes still work.
pub const BACKDATE_S: i64 = 300;
/// That is never more than this part of the life that is left: a renewal is due after two thirds.
pub const BACKDATE_PARTS: i64 = 12;
/// How far ahead of our clock a signed time may lie, in seconds, before it is refused.
pub const AHEAD_S: i64 = 300;

/// A clock is never moved against its machine's count by more than one part in so many: 500 ppm for
/// a crystal and 500 for a correction (the clock's own bounds).
pub const SHOWN_RATE_PARTS: i128 = 1_000;
/// And by so much more, in ns, because count and clock are not read at one moment.
pub const SHOWN_SLACK_NS: i128 = 1_000_000;

/// How wrong a calendar may be before its errors are no reason to let somebody in, in ms: a week
/// without any root at 15 ppm is 9 s, and who has lost it for longer judges by the best guess.
pub const CALENDAR_DOUBT_MS_MAX: i64 = 10_000;

/// How much later an earlier run may have signed than a later one, in ms, before two runs must have
/// been alive at once: a clock that was set back at a restart is off by less.
pub const COPY_SLACK_MS: i64 = 30_000;

/// Steps of a traced way: in a partial view of five neighbours four steps reach some hundreds.
pub const TRACE_HOPS_MAX: usize = 4;

/// Bytes after a frame's length field: one kind byte and at most 64 KiB.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 + 1;
/// Bytes of any one signed statement on the wire; an ML-DSA-87 presence with its chain is 21 kB.
pub const STATEMENT_BYTES_MAX: usize = 48 * 1024;
/// Bytes of one message body: a frame less its header.
pub const MESSAGE_BYTES_MAX: usize = 60 * 1024;
/// Bytes of the messages in one batch: the longest message alone, or two hundred of 256 bytes; with
/// its head it fits a frame.
pub const BATCH_BYTES_MAX: usize = 60 * 1024;
/// Bytes of the messages in one pack, unless it is one long message: with the longest signature
/// there is (ML-DSA-87's has 4.5 KiB) it still fits a frame as a broadcast that others carry.
pub const PACK_BYTES_MAX: usize = 56 * 1024;
/// Bytes of one signed broadcast: a frame, less some room.
pub const BROADCAST_BYTES_MAX: usize = 64 * 1024 - 256;
/// Links in one link state: more than a full mesh may be configured to.
pub const LINKS_MAX: usize = 256;
/// Octets of the filters in one link state: a thousand of ordinary length; with more, whole first
/// levels stand for them.
pub const WISHES_BYTES_MAX: usize = 32 * 1024;
/// Bytes of one signed link state: links, wishes with their heads, and an ML-DSA-87 chain of 21 kB.
pub const LINK_STATE_BYTES_MAX: usize = 96 * 1024;
/// How long a link state is of use without a newer one, in seconds: as long as messages are kept
/// for a peer that is away.
pub const LINK_STATE_LIFE_S: i64 = 86_400;
/// Nodes named to those before us as missed by one broadcast: enough to see what is wrong, 1 kB.
pub const MISSED_TOLD_MAX: usize = 16;
/// Receipts asked for again in one frame: each costs the other side a look-up and a signature.
pub const CLAIMS_MAX: usize = 64;
/// Addresses in one presence: a machine with more is announcing somebody else's.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of one address as text: a DNS name of 253 bytes, a colon and five digits.
pub const ADDRESS_BYTES_MAX: usize = 259;

/// Certificates named by one feed entry. A node renewed hourly for 90 days has 2,160; an entry
/// names the newest and the name itself bars the rest, so that an entry stays under 8 KiB.
pub const ENTRY_CERTS_MAX: usize = 64;
/// Bytes of one encoded feed entry: 64 certificates of about 100 bytes, and room.
pub const ENTRY_BYTES_MAX: usize = 8 * 1024;
/// Live entries in a feed. The benchmark shows a look-up at this size costs what it costs at none.
pub const FEED_ENTRIES_MAX: usize = 1_100_000;
/// Entries after the newest snapshot; more and the authority makes a new snapshot. Bounds what a
/// peer must hold unverified while a delta arrives.
pub const FEED_DELTA_MAX: usize = 1024;
/// Bytes of one chunk of feed entries, so that it fits a frame with its envelope.
pub const FEED_CHUNK_BYTES: usize = 48 * 1024;
/// Chunks in one snapshot: `FEED_ENTRIES_MAX` entries of 200 bytes. Their digests are signed.
pub const FEED_CHUNKS_MAX: usize = 8 * 1024;
/// Bytes of a feed file handed to `peer feed import`.
pub const FEED_FILE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Addresses in a join string: one of each family, outside and inside; a QR code must hold them.
pub const JOIN_ADDRESSES_MAX: usize = 4;
/// Bytes in a join string: four addresses and a network name of the longest, and what is fixed.
pub const JOIN_STRING_BYTES_MAX: usize = 1400;
/// Bytes of the sentence in a refusal to certify: a line or two.
pub const FAILURE_TEXT_BYTES_MAX: usize = 256;
/// Nodes that a new node is told of: any one of them brings it to the rest.
pub const GRANT_PEERS_MAX: usize = 16;
/// Bytes of a feed inside the answer to a new node: forty thousand entries. A longer one comes with
/// its first link, so that a thousand joining nodes do not hold a hundred megabytes each.
pub const GRANT_FEED_BYTES_MAX: usize = 8 * 1024 * 1024;
