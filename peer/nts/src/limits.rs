//! Bounds of the mesh clock's packets, each with its argument.

/// Octets of one datagram that is read. Eight cookies of the longest kind that servers in the field
/// mint (256 octets) with all else make 2,204; nobody sends more than an Ethernet frame.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

/// Octets of a question that is sent: the least MTU of IPv6 without its headers, so that no cookie
/// is lost to fragmentation.
pub const QUESTION_BYTES_MAX: usize = 1232;

/// Extension fields of one datagram: unique identifier, eight cookies or placeholders and the
/// authenticator are ten.
pub const FIELDS_MAX: usize = 24;

/// Octets of a unique identifier: RFC 8915 §5.3 asks for at least 32; longer ones are only copied.
pub const UNIQUE_BYTES_MAX: usize = 128;

/// Cookies that a client keeps, and a server hands out at once (RFC 8915 §4.1.6 says eight).
pub const COOKIES_MAX: usize = 8;

/// Octets of a foreign server's cookie; chrony refuses longer ones too.
pub const COOKIE_BYTES_MAX: usize = 256;

/// Octets of one side's records in a key exchange: eight long cookies, a name and room for what a
/// later standard adds.
pub const EXCHANGE_BYTES_MAX: usize = 4096;

/// Records in them: eight cookies and six others, and as many again that are not known here.
pub const RECORDS_MAX: usize = 32;

/// Protocols or algorithms in one list of a key exchange: the registries hold fewer.
pub const OFFERS_MAX: usize = 64;

/// Octets of a server's name in a key exchange: as in the domain name system.
pub const NAME_BYTES_MAX: usize = 253;

/// Keys in a ring, the newest of which seals. With one a day a cookie is good for a week at least,
/// which is more than eight polls of the longest interval (two and a half hours).
pub const RING_KEYS_MAX: usize = 8;

/// Age at which the newest key is followed by another, in seconds: what one stolen key opens.
pub const ROTATION_S: u64 = 86_400;

/// Age at which a cookie is not taken any more, in seconds: that of the oldest key of the ring.
pub const COOKIE_AGE_MAX_S: u64 = ROTATION_S * RING_KEYS_MAX as u64;

/// Addresses whose rate of questions is remembered, 32 octets each. More than that at once make
/// the table forget, which answers too many, never too few.
pub const CALLERS_MAX: usize = 16_384;

/// Questions an address may ask at once: a start with eight sources behind one router, each asking
/// four times in a row.
pub const BURST: u32 = 64;

/// Questions per second after that: a fleet of 256 nodes behind one router, each every 16 s.
pub const QUESTIONS_PER_S: u32 = 16;

/// First wait between two key exchanges with one server, in ms (RFC 8915 §4.2 says ten seconds).
pub const EXCHANGE_WAIT_MS: u64 = 10_000;

/// Longest such wait, in ms. The standard's five days protect public servers of millions; a node
/// that was let in again should not wait longer for its time than an operator does.
pub const EXCHANGE_WAIT_MAX_MS: u64 = 3_600_000;

/// Negative acknowledgements in a row, between two authentic answers, that are called a storm: one
/// belongs to every lost ring, the second may be a late one, the third has survived a new exchange.
pub const NAK_STORM: u32 = 3;

/// Shortest and longest interval between questions, as powers of two of seconds: 4 s while it
/// starts, 1024 s when all is quiet.
pub const POLL_MIN: i8 = 2;
/// The longest: see `POLL_MIN`.
pub const POLL_MAX: i8 = 10;

/// Root distance beyond which a server's time says nothing, in ns (RFC 5905 MAXDISP, 16 s).
pub const ROOT_DISTANCE_MAX_NS: i64 = 16_000_000_000;

/// Stratum of a server that is not synchronised (RFC 5905 §7.3).
pub const STRATUM_MAX: u8 = 16;
