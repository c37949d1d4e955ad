//! The bounds of the peer's shell, each with its argument; `shared::limits` has the common ones.

use std::time::Duration;

/// How long a TCP connection may take: three lost SYNs' worth is an address that is not there.
pub const CONNECT: Duration = Duration::from_secs(3);
/// How long a whole TLS handshake may take: two round trips over a bad satellite link, and room.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long the authority may take to answer at its door: a queue of a thousand certificates.
pub const DOOR_ANSWER: Duration = Duration::from_secs(20);
/// How long one waits for the other side to read a refusal before the socket is dropped.
pub const LINGER: Duration = Duration::from_secs(1);
/// Bytes read and thrown away meanwhile; a stranger may not make us read more.
pub const LINGER_BYTES_MAX: usize = 64 * 1024;
/// How long a closing link may take to send what is queued: five MiB at 1 MiB/s.
pub const DRAIN: Duration = Duration::from_secs(5);
/// Addresses tried of one name: a v6 and a v4, twice.
pub const DIAL_ADDRESSES_MAX: usize = 4;

/// How long a relay may take with "ready": the one called needs a connection and a handshake, and
/// the relay itself waits [`peer_core::limits::CALL_MS`] for it.
pub const CIRCUIT_READY: Duration = Duration::from_secs(6);
/// How long nothing may pass over a circuit: twelve unanswered pings of a link.
pub const CIRCUIT_IDLE: Duration = Duration::from_secs(60);
/// Octets per second in each direction of one circuit: 256 Mbit/s, a fair share for a transfer, and
/// a fifth of what one core relays.
pub const CIRCUIT_BYTES_PER_S: u64 = 32 * 1024 * 1024;
/// The least that `node.yaml` may make of it: a frame is through within four seconds.
pub const CIRCUIT_BYTES_PER_S_MIN: u64 = 16 * 1024;
/// How long circuits wait at most for the first one of a run: a handshake around the world.
pub const FIRST_CIRCUIT: Duration = Duration::from_millis(500);
/// How long one try to meet may take: the first SYN, and one that is sent again after a second.
pub const MEET: Duration = Duration::from_millis(2500);
/// How long a try is begun again that something is in the way of: until the other side's connection
/// has left, a round trip after ours.
pub const MEET_AGAIN: Duration = Duration::from_secs(1);
/// Between two of them: an address that a liar names is sent no more than six packets in a try.
pub const MEET_PAUSE: Duration = Duration::from_millis(200);
/// How long one waits, after a try to meet failed, for the other side's connection to be accepted.
pub const MEET_LATE: Duration = Duration::from_millis(500);
/// How long somebody who said where it comes from is awaited there: a slow round trip, and both
/// tries of its first packet.
pub const AWAITED: Duration = Duration::from_secs(6);
/// Places awaited at once: two of each of the dials that may be under way, and room.
pub const AWAITED_MAX: usize = 64;

/// Handshakes at once from one address: a mesh behind one NAT that restarts, and no flood.
pub const GATE_PER_ADDRESS: usize = 16;
/// Handshakes at once in all: 256 of 700 µs each are 0.2 s of one core.
pub const GATE_OVERALL: usize = 256;
/// Handshakes one address may begin at once after a pause: a hundred nodes behind one NAT restart.
pub const GATE_BURST: u32 = 128;
/// Handshakes per second of one address thereafter: 128 of 150 µs for a stranger are 2 % of a core,
/// and a hundred nodes behind one NAT find each other again within a second.
pub const GATE_PER_SECOND: u32 = 128;
/// Addresses remembered by the gate, 64 bytes each; unknown ones are refused while all are busy.
pub const GATE_ADDRESSES_MAX: usize = 4096;

/// Bytes asked of TLS in one read: one record, because rustls hands out no more at a time.
pub const READ_BYTES: usize = 16 * 1024;
/// Bytes gathered into one write: four records, so that control waits behind 64 KiB at most.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Frames gathered into one write; the smallest useful frame has 13 bytes.
pub const WRITE_FRAMES_MAX: usize = 2048;
/// A frame from this size on is written where it lies instead of being copied to its neighbours.
pub const DIRECT_BYTES_MIN: usize = 8 * 1024;

/// Control frames queued on one link: what a thousand presences and feed entries make.
pub const CONTROL_FRAMES_MAX: usize = 1024;
/// Their bytes: forty feed chunks; a slow link is fed by `push_wait`.
pub const CONTROL_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Message frames queued on one link: 3 ms of the link's highest rate.
pub const MESSAGE_FRAMES_MAX: usize = 8192;
/// Their bytes: 4 ms of the link's bandwidth.
pub const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bulk frames queued on one link.
pub const BULK_FRAMES_MAX: usize = 64;
/// Their bytes: sixteen whole frames keep the writer busy. With the other classes a link that does
/// not move holds 5 MiB, and a hundred of them half a GiB at worst.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;
/// How often key and certificate are read while they are being replaced: a renewal moves four
/// files, and the next one is hours away.
pub const PAIR_READS_MAX: u32 = 16;
/// Bytes of a private key file; an ML-DSA-87 key in PEM is under 8 KiB.
pub const KEY_FILE_BYTES_MAX: usize = 32 * 1024;
/// Peers named in one `node.yaml`: the largest mesh of this kind has a hundred nodes.
pub const PEERS_MAX: usize = 128;
/// Addresses without a name in one `node.yaml`: half of what is tried at once, so that there is
/// room for what the local network announces.
pub const SEEDS_MAX: usize = 32;
/// Interfaces named for the local network.
pub const INTERFACES_MAX: usize = 16;

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
/// Streams of queued messages whose last number is remembered, three a sender: twenty thousand
/// senders, at 100 bytes each.
pub const INBOX_STREAMS_MAX: u64 = 65_536;
/// Messages whose receipt can be asked for again, at 150 bytes each: it is asked within a day.
pub const INBOX_OWED_MAX: u64 = 100_000;
/// Messages that wait for the inbox's thread; beyond it the links wait, and TCP with them.
pub const INBOX_QUEUE: usize = 1024;
/// Messages in one durable commit: 256 of 60 KiB are 15 MiB held in memory.
pub const INBOX_GROUP: usize = 256;
/// Messages read in one listing: a page of 256 bodies is at most 15 MiB.
pub const INBOX_PAGE: usize = 256;

/// Pieces of evidence in a bundle: the first ones count, and each is a few kB.
pub const EVIDENCE_MAX: usize = 64;
/// Pieces of evidence about one node, so that a copy that restarts leaves room for other nodes.
pub const EVIDENCE_PER_NODE_MAX: usize = 8;
/// Messages in an outbox unless `node.yaml` says otherwise: a day of one a second, and a burst; one
/// receiver has half of it at most.
pub const OUTBOX_COUNT: u64 = 100_000;
/// Messages in an outbox at most, whatever `node.yaml` says; a start counts them in a second.
pub const OUTBOX_COUNT_MAX: u64 = 1_000_000;
/// Bytes of all bodies in an outbox unless `node.yaml` says otherwise.
pub const OUTBOX_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of all bodies in an outbox at most, whatever `node.yaml` says.
pub const OUTBOX_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Orders that wait for the outbox's thread: a batch each, 60 KiB; beyond it senders wait.
pub const OUTBOX_QUEUE: usize = 256;
/// Orders in one durable commit.
pub const OUTBOX_GROUP: usize = 128;
/// Orders that wait for room among those: each follows from one frame within a window.
pub const OUTBOX_ORDERS_MAX: usize = 16_384;
/// Receivers' streams read at once; more are read a moment later.
pub const OUTBOX_READS: usize = 1024;
/// Records of dropped messages that are kept, the newest; each stands for a whole queue.
pub const OUTBOX_GONE_MAX: u64 = 1000;
/// Arrived messages whose receipts are waited for.
pub const OUTBOX_MISSING_MAX: u64 = 10_000;
/// Receipts kept, the newest, at about 1.5 kB each.
pub const OUTBOX_RECEIPTS_MAX: u64 = 10_000;
/// Messages whose fate somebody waits for at this moment.
pub const OUTBOX_WATCHES_MAX: usize = 4096;
/// Messages read in one listing.
pub const OUTBOX_PAGE: usize = 1024;
/// How long a queued message may wait unless told otherwise, in seconds: a machine is repaired or
/// replaced within a day.
pub const TTL_S: i64 = 86_400;
/// How long a queued message may wait at most, in seconds: after a month nobody remembers why.
pub const TTL_MAX_S: i64 = 30 * 86_400;

/// Packs of one sender that are not answered yet, 60 KiB each: a MiB fills a link of 1 Gbit/s over
/// 8 ms, and half of its queue.
pub const PACKS_UNDER_WAY: usize = 16;
/// Packs that wait for the application that listens: four senders' worth, 4 MiB; beyond it a sender
/// is told `quota`.
pub const PACKS_WAITING_MAX: usize = 64;

/// Bytes of one line on the control socket: two thousand messages of 256 bytes in base64, so that
/// one commit of the outbox takes that many; of all clients together 16 MiB.
pub const CONTROL_LINE_BYTES_MAX: usize = 1024 * 1024;
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

/// Acknowledgements that wait for whoever brought in the news: those of a quarter of the largest
/// network in one moment.
pub const ACKNOWLEDGEMENTS_MAX: usize = 4096;
/// Who may wait for acknowledgements at once; the oldest gives way. A person types one command.
pub const PUBLISHERS_MAX: usize = 16;
/// Requests for a certificate that wait for whoever certifies: one from every link.
pub const RENEWALS_WAITING_MAX: usize = 256;

/// Bytes asked of an MQTT client's socket in one read, at first: a sensor says less.
pub const MQTT_READ_BYTES_MIN: usize = 4 * 1024;
/// And after a read that was full: a thousand small messages at once.
pub const MQTT_READ_BYTES_MAX: usize = 64 * 1024;
/// Reads of one MQTT connection that follow each other so fast that going to sleep between them
/// costs more than looking again: being woken takes a few microseconds on either side.
pub const MQTT_QUICK: Duration = Duration::from_micros(20);
/// How many such reads make a stream of a burst.
pub const MQTT_QUICK_READS: u32 = 32;
/// How long what such a stream brings is gathered before it is read: a few dozen messages at the
/// most that a client can write one by one, and no more than a slow wake-up takes.
pub const MQTT_GATHER: Duration = Duration::from_micros(40);
/// Reads of more bytes than this are gathered by the client itself.
pub const MQTT_GATHER_BYTES: usize = 2048;
/// How long an MQTT client may take no byte of what it is told: it may sleep for a while.
pub const MQTT_WRITE: Duration = Duration::from_secs(30);
/// Groups of rows that wait for the disk; what comes then gathers in the next.
pub const MQTT_GROUPS_WAITING_MAX: usize = 1;
/// Octets of MQTT in one frame of a link: with its head it fits a frame's bound.
pub const MQTT_FRAME_BYTES: usize = 60 * 1024;
/// Octets between a link's frames and an endpoint: four frames.
pub const MQTT_PIPE_BYTES: usize = 4 * MQTT_FRAME_BYTES;
/// Frames that wait between a link and its endpoint: one read's worth; then the link waits.
pub const MQTT_FRAMES_WAITING_MAX: usize = 16;
/// MQTT sessions at most, whatever `node.yaml` says: 2 KiB each are 2 GiB.
pub const MQTT_SESSIONS_MAX: usize = 1_000_000;
/// Bytes of one session's queue at most.
pub const MQTT_QUEUE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Retained messages at most.
pub const MQTT_RETAINED_MAX: usize = 10_000_000;
/// Their bytes at most.
pub const MQTT_RETAINED_BYTES_MAX: usize = 16 * 1024 * 1024 * 1024;
/// Sessions that a status lists: with dozens of filters each it still fits a line of the control
/// socket.
pub const MQTT_SESSIONS_SHOWN: usize = 200;
/// User names that `node.yaml` may map.
pub const MQTT_USERS_MAX: usize = 1024;
/// MQTT connections that have not said CONNECT, besides those of sessions.
pub const MQTT_STRANGERS_MAX: usize = 1024;

/// Bridges in `node.yaml`: a site has one engine or two.
pub const BRIDGES_MAX: usize = 16;
/// Bytes of an engine's name: with what precedes it, it fits a client identifier.
pub const BRIDGE_NAME_BYTES_MAX: usize = 128;
/// How long a bridge's sessions outlast their connections unless `node.yaml` says otherwise, in
/// seconds: a day of repair.
pub const BRIDGE_EXPIRY_S: u32 = 86_400;
/// Bytes of a file with a bridge's password.
pub const BRIDGE_PASSWORD_BYTES_MAX: usize = 4096;
/// Bytes of a file with roots for an engine's certificate: a system's whole bundle has 250 KiB.
pub const BRIDGE_ROOTS_BYTES_MAX: usize = 1024 * 1024;
/// Roots in such a file.
pub const BRIDGE_ROOTS_MAX: usize = 512;
/// Filters that an engine is told at once that they are not wanted any more: one packet of them.
pub const BRIDGE_ASKED_MAX: usize = 256;
/// Bytes of the file that knows what engines were asked for: sixteen bridges of 64 filters have
/// 64 KiB.
pub const BRIDGE_ASKED_BYTES_MAX: usize = 1024 * 1024;
/// How long a bridge waits before its second attempt; each further wait is twice as long.
pub const BRIDGE_WAIT_MIN: Duration = Duration::from_millis(250);
/// And at most: an engine that is back is found within a minute.
pub const BRIDGE_WAIT_MAX: Duration = Duration::from_secs(60);
/// A bridge that was up for so long begins with the shortest wait again.
pub const BRIDGE_STEADY: Duration = Duration::from_secs(10);

/// Sources of time in `node.yaml`: RFC 8633 asks for four, and three networks have no more to offer
/// together.
pub const TIME_SOURCES_MAX: usize = 16;
/// How long an answer to a question of time is waited for: a longer round trip teaches nothing.
pub const TIME_ANSWER: Duration = Duration::from_millis(1_200);
/// Datagrams that are read for one question; others than its answer are a flood, or forged.
pub const TIME_DATAGRAMS_MAX: usize = 32;
/// How long a key exchange may take besides its connection and handshake.
pub const TIME_EXCHANGE: Duration = Duration::from_secs(4);
/// Bytes of a file with roots: the system's have a quarter of a mebibyte.
pub const TIME_ROOTS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Roots in it: the system's are 150.
pub const TIME_ROOTS_MAX: usize = 1024;
/// Answers of sources that wait for the keeper: one of each.
pub const TIME_HEARD_MAX: usize = clock::limits::SOURCES_MAX;
/// Orders that wait for the keeper.
pub const TIME_ORDERS_MAX: usize = 64;
/// Members that are asked for the time without having been named: the table less what is named.
pub const TIME_INVITED_MAX: usize = clock::limits::SOURCES_MAX - TIME_SOURCES_MAX;
/// How often it is looked whether somebody else offers the time, in ns; asking one backs off.
pub const TIME_PROBE_NS: u64 = 10_000_000_000;
/// How often the keeper is told who is a member, in ms: a new one is asked some seconds later.
pub const TIME_ROLL_MS: u64 = 5_000;
/// How often a node says what its clock shows, in ms.
pub const SHOWN_MS: u64 = 60_000;
/// To how many others a neighbour's statement is passed on: two a minute reach everybody in a few.
pub const SHOWN_PASSED_ON: usize = 2;
/// Statements that one link brings in a minute: its own, and about two of others; 150 µs each.
pub const SHOWN_PER_LINK: u32 = 16;
/// Statements that are remembered, to look at none twice: three from each of a full house of links.
pub const SHOWN_SEEN_MAX: usize = 1024;
/// Events of the clock that `peer time` shows: the newest.
pub const TIME_EVENTS_MAX: usize = 32;
/// Bytes of the file with the floor, its frame included.
pub const FLOOR_BYTES_MAX: usize = 64;
/// Questions in one `peer time query`.
pub const TIME_QUERIES: u32 = 4;
/// Between two of those: as the keeper asks a new source.
pub const TIME_QUERY_PAUSE: Duration = Duration::from_millis(500);
/// Bytes of the file with the keys of the cookies: eight have 378.
pub const NTS_RING_BYTES_MAX: usize = 1024;
/// Bytes of a certificate for the port of the key exchange: eight of the largest RSA keys that are
/// in use, in PEM and with their text.
pub const NTS_CHAIN_BYTES_MAX: usize = 128 * 1024;
/// Certificates in that file: public authorities have two or three.
pub const NTS_CHAIN_MAX: usize = 8;
/// How long before its end it is told that nobody has replaced it, in seconds, unless a quarter of
/// its life is shorter: whoever renews by himself has done so when a third was left, and two weeks
/// are enough for who does it by hand.
pub const NTS_CERTIFICATE_NEAR_S: i64 = 14 * 86_400;
/// Questions about the time that are taken from the kernel at once; more hardly ever wait.
pub const TIME_BATCH: usize = 16;
/// Random octets that are drawn at once for the nonces of answers: 128 questions of one cookie.
pub const TIME_DRAW_BYTES: usize = 4096;
/// How old a kernel's stamp may be that is believed, in ns: a question that waited longer says
/// nothing about the time, and a clock that was set meanwhile says it of the stamp.
pub const TIME_STAMP_AGE_NS_MAX: u64 = 1_000_000_000;
/// What this machine's own clock is told to be wrong by, where its operator vouches for it, in ns:
/// nobody sets a clock better by hand.
pub const LOCAL_DISPERSION_NS: u64 = 100_000_000;
/// The stratum of a system's clock that somebody keeps, which the kernel does not know: that of a
/// machine that asks public servers.
pub const SYSTEM_STRATUM: u8 = 3;
/// How long a program may take to say what keys it wants, and to hear the answer.
pub const KEY_EXCHANGE: Duration = Duration::from_secs(4);
/// Frames about keys for the time that wait on one link; more, and the link is not read.
pub const KEY_FRAMES_WAITING_MAX: usize = 4;
