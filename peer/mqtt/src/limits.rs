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

/// Levels of a topic or filter: the tree of subscriptions is walked that deep.
pub const LEVELS_MAX: usize = 128;

/// Messages that are under way to a client at most, whatever Receive Maximum it grants: enough to
/// fill a fast connection, few enough to be sent again at once after a break.
pub const WINDOW_MAX: u16 = 8192;

/// Receive Maximum that a client is granted: what it may have unacknowledged. The disk confirms
/// several hundred at a time.
pub const RECEIVE_MAX: u16 = 4096;

/// Topic aliases a client may use, and that are used towards it: most devices speak on few topics.
pub const ALIAS_MAX: u16 = 32;

/// Bytes written for a client and not yet taken by its socket, above which a publisher is held.
pub const OUT_BYTES_HIGH: usize = 256 * 1024;

/// Bytes that a connection's empty buffer may keep: an idle one costs less than its socket.
pub const OUT_BYTES_KEPT: usize = 1024 * 1024;

/// Bytes of retained messages that a new subscription is told before the socket has taken them, and
/// the queue's window has: all there are may be more than either holds.
pub const READING_BYTES: usize = OUT_BYTES_HIGH;

/// Bytes written for a client and not yet taken, above which QoS 0 is dropped for it.
pub const OUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long a publisher is held for a subscriber that does not take half of [`OUT_BYTES_HIGH`]
/// meanwhile, in ms; then that is left behind.
pub const HOLD_MS: u64 = 100;

/// Octets that a quota lets pass at once, however low: one publication of a usual size.
pub const QUOTA_BYTES_AT_ONCE: u64 = 64 * 1024;
/// How long a connection that has used up its quota is not read, in ms: less than the patience of a
/// client that waits for a PINGRESP.
pub const QUOTA_DEBT_MS: u64 = 10_000;
/// Identities whose use of a quota is counted before those that have used nothing are forgotten.
pub const QUOTA_METERS_MIN: usize = 1024;

/// Messages of QoS 1 and 2 that wait in one session.
pub const QUEUE_COUNT_MAX: usize = 100_000;

/// Bytes of those, unless configured.
pub const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of all sessions' queues together: in memory, whether they are on the disk too or not.
pub const QUEUES_BYTES: usize = 256 * 1024 * 1024;

/// Sessions, connected or not, unless configured: each costs about 2 KiB.
pub const SESSIONS: usize = 20_000;

/// Subscriptions of one session: a fleet's backend has dozens, 100,000 are an attack.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Subscriptions in all: of the longest filters half a gibibyte.
pub const SUBSCRIPTIONS_ALL_MAX: usize = 250_000;

/// Octets of a client's identifier: the standard obliges to 23.
pub const CLIENT_ID_BYTES_MAX: usize = 256;

/// Retained messages, unless configured.
pub const RETAINED: usize = 100_000;

/// Bytes of retained messages with their topics, unless configured.
pub const RETAINED_BYTES: usize = 64 * 1024 * 1024;

/// Longest session expiry that is granted, in seconds: 30 days. A session that nobody takes up
/// again costs memory and disk for so long.
pub const SESSION_EXPIRY_MAX_S: u32 = 30 * 86_400;

/// Longest keep-alive that is granted, in seconds: a dead client is noticed after half as long
/// again.
pub const KEEP_ALIVE_MAX_S: u16 = 3_600;

/// How long a connection may take to say CONNECT, in ms.
pub const CONNECT_MS: u64 = 10_000;

/// How long an ended connection is read on so that its last packet is heard, in ms.
pub const LINGER_MS: u64 = 1_000;

/// Topics whose routes a connection remembers: one that publishes on more looks each up.
pub const ROUTES_MAX: usize = 16;

/// Acknowledgements that a client is owed: it may have sent so many and not waited.
pub const OWED_MAX: usize = RECEIVE_MAX as usize * 2;

/// How far a retained message's stamp may lie ahead of our clock, in ms: one bad clock must not win
/// for ever.
pub const STAMP_AHEAD_MS: i64 = 2_000;

/// How long it is remembered that a retained message was cleared, in ms: a peer that was away for
/// longer may bring it back.
pub const TOMBSTONE_MS: i64 = 7 * 86_400_000;

/// Rows that gather for the disk before they are written although nobody waits for them.
pub const JOURNAL_ROWS_HIGH: usize = 4096;

/// Octets of what a message carries between peers besides itself: names and a filter, in hex; a
/// user property has room for 64 KiB.
pub const ENVELOPE_BYTES_MAX: usize = 60 * 1024;

/// Distinct filters that a peer asks its neighbours for; with more, whole first levels.
pub const INTEREST_MAX: usize = 4096;

/// How long a SUBACK waits until every linked peer knows of a new filter, in ms.
pub const BARRIER_MS: u64 = 200;

/// How long messages for a peer that is away are kept, in seconds: a day of repair.
pub const PEER_EXPIRY_S: u32 = 86_400;

/// Bytes that wait for one peer.
pub const PEER_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Parts that the retained messages of two peers are compared in.
pub const BUCKETS: usize = 256;

/// How often they are compared besides at link-up, in ms.
pub const DIGEST_MS: u64 = 60_000;

/// How long wishes gather before they are told to other peers, in ms.
pub const INTEREST_MS: u64 = 5;

/// Filters of one session that are shown to people.
pub const FILTERS_SHOWN: usize = 10;

/// Bytes that one peer says to another before it hears that they were taken: a slow program there
/// holds back its senders here, and the link stays free.
pub const PEER_WINDOW_BYTES: usize = 1024 * 1024;

/// Bytes that a peer may have said beyond what was taken before it is not believed any more: its
/// window, one whole buffer, and packets of the largest size.
pub const PEER_UNTAKEN_BYTES_MAX: usize = 6 * PEER_WINDOW_BYTES;

/// Messages of QoS 1 and 2 that are under way in each direction of a bridge: at 20 ms to the
/// engine 12,800 a second, and few enough to be said again after each break.
pub const BRIDGE_WINDOW: u16 = 256;

/// Places that a message may have been in: more bridges one behind the other are a mistake.
pub const BRIDGE_HOPS_MAX: usize = 16;

/// Octets that a bridge adds to a packet: a mark of two names, and a prefix.
pub const BRIDGE_MARGIN_BYTES: u32 = 1024;

/// Octets of the prefix of a bridge, so that the margin has room for it.
pub const BRIDGE_PREFIX_BYTES_MAX: usize = 256;

/// Filters in each direction of a bridge: each message is looked up among them one by one.
pub const BRIDGE_FILTERS_MAX: usize = 64;

/// Silence after which an engine is dead, in seconds; it is asked after half of it.
pub const BRIDGE_KEEP_ALIVE_S: u16 = 30;

/// How long what is retained at an engine is waited for before ours is told, in ms.
pub const BRIDGE_FENCE_MS: u64 = 5_000;

/// Peers that a chart holds: members of one network.
pub const CHARTED_MAX: usize = 4096;

/// How long a link that ended counts as one, in ms: what goes over it waits, for one that comes
/// back at once changes no way, and nothing overtakes what waits.
pub const SETTLE_MS: i64 = 1_000;

/// How long changes of our links and wishes gather before they are signed and told, in ms.
pub const ANNOUNCE_MS: u64 = 100;

/// How often our link state is told anew although nothing changed, in seconds: a few times in its
/// life.
pub const ANNOUNCE_S: i64 = 4 * 3_600;

/// Bytes of link states told to one neighbour before the socket is asked again.
pub const NEWS_BYTES: usize = 512 * 1024;

/// Links that one message crosses: in a ring the half of 64 peers.
pub const HOPS_MAX: u8 = 32;

/// Messages of one peer that are told apart from repetitions: what can be under way on two ways.
pub const SEEN_WINDOW: u64 = 65_536;

/// Peers whose messages are told apart: 8 KiB each.
pub const SEEN_PEERS_MAX: usize = 1024;

/// Receivers named in one message: of the longest names their envelope is full to the half.
pub const RECEIVERS_MAX: usize = 256;
