//! The bounds that only peers know, each with its argument.

use shared::limits::AHEAD_S;

use crate::bucket::Rate;

/// Links to members: a full mesh of 100 nodes is what this fabric is for; twice that and room for
/// restarts, at 30 KiB a link. A node that is full refuses newcomers with `quota`.
pub const LINKS_MAX: usize = 256;
/// Links of authorities at once: one person types one command; a script may type a few.
pub const AUTHORITY_LINKS_MAX: usize = 4;
/// Presences kept: the largest network this is made for and half as much again, at about 3 kB
/// each, so 48 MB at the very most.
pub const DIRECTORY_MAX: usize = 16_384;
/// Presences in one frame: 32 P-256 presences of 1.3 kB fit 64 KiB; a byte bound applies as well.
pub const PRESENCES_PER_FRAME: usize = 32;
/// Bytes of presences in one frame, so that a list of ML-DSA presences fits too.
pub const PRESENCES_FRAME_BYTES: usize = 60 * 1024;
/// Messages sent and not yet answered. A person waits for one, a script for a few thousand.
pub const OUTSTANDING_MAX: usize = 4096;
/// Broadcasts of ours that some have not answered yet: four broadcasters' worth. Each is remembered
/// with its links, so at most a few thousand of them.
pub const BROADCASTS_MAX: usize = 64;
/// Numbers of one origin's broadcasts that are remembered, so that none is heard twice: four times
/// what may be under way.
pub const BROADCAST_WINDOW: usize = 256;
/// Origins whose numbers are remembered, at 4 kB each: every link there may be, and as many again.
pub const BROADCAST_ORIGINS_MAX: usize = 512;
/// Broadcasts that we carry and that are not answered yet: sixteen senders' worth. Of each its
/// links are remembered, a few kB.
pub const TREES_UNDER_WAY_MAX: usize = 256;
/// Nodes named as missed by one broadcast that others carry: who is not named is still counted by
/// its absence from those who took it.
pub const MISSED_MAX: usize = 256;
/// How long a way is left out that was not needed, in ms: then one pack goes over it in vain. It
/// bounds how long a change that nobody noticed keeps somebody from hearing.
pub const PRUNED_MS: u64 = 60_000;
/// Silence of the way by which a node's broadcasts come, in ms, after which another that brings
/// them takes its place: ways of one network differ by less.
pub const PARENT_SILENT_MS: u64 = 1_000;
/// After so long, in ms, nothing that a node has signed before is believed: it may lie in the past
/// and in the future as far as clocks may be apart.
pub const BROADCAST_STALE_MS: u64 = 2 * 1000 * AHEAD_S.unsigned_abs();
/// Broadcasts of one link that cannot be proven: a node with a fresh key says a hundred before all
/// have its new presence. Each costs a look at a signature.
pub const UNPROVEN_BROADCASTS: Rate = Rate { burst: 256, every_ms: 1_000 };
/// How long a message or ping may stay unanswered before its sender is told, in ms.
pub const ANSWER_MS: u64 = 10_000;
/// Silence after which a ping asks whether the other side is there, in ms.
pub const PING_IDLE_MS: u64 = 5_000;
/// Silence after which a link is dead, in ms: three unanswered pings.
pub const SILENCE_MS: u64 = 15_000;
/// How long a doubted link has to answer before a newer one takes its place, in ms.
pub const PROBE_MS: u64 = 2_000;
/// The first wait after a failed dial, in ms; doubled each time, with jitter.
pub const RETRY_FIRST_MS: u64 = 200;
/// The longest wait between dials of an unreachable node, in ms.
pub const RETRY_MAX_MS: u64 = 10_000;
/// The first wait after a refusal, in ms: the reason rarely goes away by itself.
pub const REFUSED_FIRST_MS: u64 = 1_000;
/// The longest wait after refusals, in ms.
pub const REFUSED_MAX_MS: u64 = 20_000;
/// How long the node with the larger name lets the other dial first, in ms: both would otherwise
/// dial at once, and one of the two handshakes would be thrown away.
pub const YIELD_MS: u64 = 400;
/// How long a dial may take before it counts as failed, in ms; connect and handshake have shorter
/// bounds of their own.
pub const DIAL_MS: u64 = 12_000;
/// How long an address may keep silent before a relay is asked as well, in ms: a round trip around
/// the world. A private address behind a NAT never answers.
pub const HEDGE_MS: u64 = 250;
/// Dials under way at once: a start in a network of 100 must not be a storm.
pub const DIALS_MAX: usize = 16;
/// Between two looks at every link's certificate dates and the set, in ms.
pub const LOOK_MS: u64 = 1_000;
/// Between two signatures of our own presence in a small network, in ms: what a directory says is
/// then not older than a few minutes.
pub const PRESENCE_MS: u64 = 240_000;
/// And for each node known, in ms: a thousand nodes then say one presence a second together, which
/// comes to everybody twice or three times, as 3 kB/s.
pub const PRESENCE_EACH_MS: u64 = 1_000;
/// But at least this often, in ms: forgetting somebody gone takes three times as long.
pub const PRESENCE_MAX_MS: u64 = 3_600_000;
/// Silence after which an unlinked node's presence is forgotten: so many missed signatures.
pub const FORGET_PRESENCES: u64 = 3;
/// Silence after which whoever we only remember is let go again, in ms.
pub const FORGET_MS: u64 = 900_000;
/// Nodes up to which everybody is linked with everybody, unless node.yaml says otherwise: 64 nodes
/// are 63 links of 17 KiB each, and a revocation is everywhere after one hop.
pub const FULL_MESH: usize = 64;
/// What node.yaml may raise that to: the links there may be, less some for restarts.
pub const FULL_MESH_MAX: usize = 200;
/// HyParView's active view: with five neighbours the papers' overlays of 10,000 nodes stay
/// connected when half of the nodes fail at once.
pub const GOSSIP_ACTIVE: usize = 5;
/// HyParView's passive view: the papers' six times the active one, and some.
pub const GOSSIP_PASSIVE: usize = 40;
/// Between two shuffles of the passive view, in ms.
pub const GOSSIP_SHUFFLE_MS: u64 = 60_000;
/// How long a node may take to answer that it will be a neighbour, in ms: a dial and a greeting
/// over a slow way.
pub const GOSSIP_NEIGHBOUR_MS: u64 = 2_000;
/// How long an announced broadcast may be on its way before it is asked for, in ms: a few hops of
/// 50 ms, or one retransmission.
pub const GOSSIP_GRAFT_MS: u64 = 300;
/// How long a broadcast is kept for whoever asks for it, in ms: ten times the above.
pub const GOSSIP_CACHE_MS: u64 = 3_000;
/// How long a broadcast is known for an old one, in ms.
pub const GOSSIP_SEEN_MS: u64 = 60_000;
/// Control messages of one neighbour in the broadcast machine: one every 5 ms is what a busy tree
/// needs (announcements are gathered for as long), twice that is taken.
pub const GOSSIP_CONTROL: Rate = Rate { burst: 2_000, every_ms: 2 };
/// Broadcasts one neighbour brings: 32 KiB every 2 ms are more than a link carries to five others.
pub const GOSSIP_DATA: Rate = Rate { burst: 2_000, every_ms: 2 };
/// Octets of control after which the broadcast machine is made anew: it remembers announcements of
/// what never comes, at about three times their size.
pub const GOSSIP_RENEW_BYTES: usize = 16 * 1024 * 1024;
/// One broadcast: half a frame, so that it fits with everything around it.
pub const GOSSIP_BYTES_MAX: usize = 32 * 1024;
/// Frames of the broadcast machine that wait for a link to one node, and nodes so waited for: what
/// a newcomer's first second needs.
pub const GOSSIP_WAITING_MAX: usize = 8;
/// Nodes for whose link frames of the broadcast machine wait.
pub const GOSSIP_WAITING_NODES_MAX: usize = 32;
/// Nodes whose use of a quota is counted: as many as may be linked, and as many that come and go.
pub const METERS_MAX: usize = 1024;
/// Octets of messages that a quota lets pass at once, however low: one message of the largest size.
pub const QUOTA_BYTES_BURST_MIN: u64 = 64 * 1024;
/// Messages and pings that wait for a link on demand; a person waits for one.
pub const PARKED_MAX: usize = 256;
/// How long they wait, in ms: a dial by every way, or a person's patience.
pub const PARKED_MS: u64 = 5_000;
/// Links a node draws itself from the directory in a large network: with as many drawn by others,
/// six that nobody could choose for it.
pub const ANCHORS: usize = 3;
/// Between two draws of another anchor, in ms: after a partition each half has only its own, and a
/// thousand that draw find the other half in a tenth of a second; a handshake a minute is 0.2 kB/s.
pub const ANCHOR_MS: u64 = 60_000;
/// Nodes one talks to at once in a large network; each is a link.
pub const TALKS_MAX: usize = 128;
/// How long a link is wanted after something was said on it, in ms.
pub const TALK_MS: u64 = 60_000;
/// And how long after the authority has answered, in ms: a thousand may wait for its 256 links.
pub const SETTLED_MS: u64 = 2_000;
/// How long a link that nobody wants stays, in ms: it may be wanted again.
pub const SURPLUS_MS: u64 = 10_000;
/// Between two digests with a random neighbour, in ms: what a broadcast missed is mended then.
pub const DIGEST_MS: u64 = 60_000;
/// How long news by a digest are gathered before they are compared with other neighbours, in ms.
pub const DIGEST_SOON_MS: u64 = 500;
/// How old a presence is before it counts as missed, in ms: what is younger is still on its way by
/// broadcast, and in a thousand nodes there is always some. Would it count, each digest would call
/// for eight more.
pub const DIGEST_MISSED_MS: i64 = 15_000;
/// Neighbours a digest with news is compared with.
pub const DIGEST_FANOUT: usize = 8;
/// Presences of a sample, which crowded directories send each other instead of a digest: with two
/// a minute for each node, five hundred known ones are renewed within the hour they may be silent,
/// at 0.3 kB/s.
pub const SAMPLE: usize = 16;
/// Feed numbers whose acknowledgements are still carried back.
pub const ACK_ROUTES_MAX: usize = 16;
/// Actions waiting to be performed; the driver empties the queue after each event.
pub const EVENTS_MAX: usize = 4096;

/// Addresses without a name kept at once: those of a person, and some of a local network; one
/// of them is enough, because its node tells of the others.
pub const LEADS_MAX: usize = 64;
/// Dials of such addresses at once: half of all dials, so that they never hold up known nodes.
pub const LEAD_DIALS_MAX: usize = 8;
/// Dials of addresses that somebody on the local network announced: whoever answers there may name
/// a third party, which then sees no more than six connections a minute from each of us.
pub const FOUND_DIALS: Rate = Rate { burst: 8, every_ms: 10_000 };
/// How long a found address that proved foreign is left alone, in ms.
pub const LEAD_SHUN_MS: u64 = 600_000;
/// How long a found address is kept that is not announced again, in ms; longer than it is shunned,
/// or it would be dialled again as a new one.
pub const LEAD_FORGET_MS: u64 = 1_200_000;

/// Dials of addresses that never became a link, for each introducer: enough to meet a full mesh at
/// a start, because what becomes a link is given back; a third party then sees no more than one
/// connection every ten seconds from each of us for each liar.
pub const INTRODUCED_DIALS: Rate = Rate { burst: 64, every_ms: 10_000 };
/// Links that we dialled because one neighbour told us of them: a third of all there is room for,
/// so that no one neighbour surrounds us with nodes of its choice.
pub const INTRODUCED_LINKS_MAX: usize = LINKS_MAX / 3;
/// How long a node that may not be dialled now waits for the next look at it, in ms.
pub const HELD_MS: u64 = 5_000;
/// Room that a node with the role `rendezvous` keeps for newcomers: as many as may come at once
/// before the first of them has been introduced.
pub const RENDEZVOUS_RESERVE: usize = 32;
/// How long a newcomer is linked at least before it gives way to the next, in ms: the exchange of
/// the directory takes a round trip or two.
pub const INTRODUCTION_MS: i64 = 2_000;
/// How long a node that was introduced leaves the rendezvous alone, in ms: a thousand of them then
/// come back seventeen times a second, which is 2 % of a core.
pub const RENDEZVOUS_REST_MS: u64 = 60_000;

/// Questions for the way to a node from one neighbour: a person types one, a script a few.
pub const TRACE_ASKS: Rate = Rate { burst: 8, every_ms: 500 };
/// Neighbours that are asked at each step: with four steps at most forty frames a question.
pub const TRACE_FANOUT: usize = 3;
/// Questions under way at once, our own and those passed on; 64 of 100 bytes.
pub const TRACES_MAX: usize = 64;
/// How long a question for the way to a node waits for its answer, in ms.
pub const TRACE_MS: u64 = 3_000;

/// Contradictions passed on by others that are verified: each costs a signature, a third of a ms.
pub const TWIN_CHECKS: Rate = Rate { burst: 8, every_ms: 5_000 };
/// Pairs of instances told in one run: a person who does not act on 64 will not on more.
pub const TWINS_MAX: usize = 64;

/// Nodes remembered from run to run: to find the network again one is enough, and of 256 some
/// will be where they were. A third of a MB with P-256.
pub const MEMORY_MAX: usize = 256;
/// How much newer a presence must be to be worth writing again when nothing else changed, in ms.
pub const MEMORY_FRESH_MS: i64 = 3_600_000;
/// How long what changed waits for more before it is written, in ms.
pub const MEMORY_SETTLE_MS: u64 = 1_000;
/// Between two writes of what is remembered, in ms.
pub const MEMORY_SAVE_MS: u64 = 60_000;
/// How long a node without links tries those that introduce newcomers before all others, in ms.
pub const RENDEZVOUS_FIRST_MS: u64 = 2_000;
/// How long a call may wait for the one who was called to take it, in ms: a link's round trip, a
/// connection and a handshake, each as slow as a satellite.
pub const CALL_MS: u64 = 5_000;
/// How long a circuit lasts at most, in ms: a day, because by then both ends have had every chance
/// to meet directly, and whatever holds it only out of habit is found out.
pub const CIRCUIT_MS: u64 = 86_400_000;
/// Circuits through one relay: 512 of two connections and 64 KiB are 32 MiB and 1024 sockets.
pub const CIRCUITS_MAX: usize = 512;
/// Circuits of one member through one relay: what one node behind a symmetric NAT needs in a full
/// mesh of 64, and an eighth of all.
pub const CIRCUITS_PER_MEMBER: usize = 64;
/// How long a relayed link that a direct one replaced is kept after its last frame, in ms: longer
/// than a frame is on its way, so that none is lost.
pub const RETIRE_QUIET_MS: u64 = 500;
/// How long it is kept at most, in ms, whatever still waits on it.
pub const RETIRE_MS: u64 = 5_000;
/// Tries to meet directly after a relayed link came up, before they become rare.
pub const PUNCH_TRIES: u32 = 3;
/// Between two of the first tries, in ms: longer than the SYN of one try is resent.
pub const PUNCH_PAUSE_MS: u64 = 4_000;
/// Between the later ones, in ms, doubled each time up to [`PUNCH_REST_MAX_MS`]: a symmetric NAT
/// stays one, but a laptop moves.
pub const PUNCH_REST_MS: u64 = 60_000;
/// The longest such wait, in ms.
pub const PUNCH_REST_MAX_MS: u64 = 1_800_000;
/// How long a meeting is put off at most, in ms, while a relay is asked for the same node: whoever
/// was called takes the call within [`CALL_MS`], or nobody does.
pub const PUNCH_YIELD_MS: u64 = CALL_MS;
/// Bytes of one stream sent and not yet acknowledged: what a disk that commits every 10 ms takes in
/// at 100 MB/s; three streams of it still fit a link's queue of messages.
pub const WINDOW_BYTES: usize = 512 * 1024;
/// Batches of one stream sent and not yet acknowledged, so that many small ones are bounded too.
pub const WINDOW_BATCHES: usize = 256;
/// How long a receiver may leave a stream without any acknowledgement, in ms, before it is sent
/// again: a disk that syncs in seconds is still a disk.
pub const ACKNOWLEDGE_MS: u64 = 10_000;
/// The first wait before a stream begins again after a refusal, in ms; doubled each time.
pub const AGAIN_FIRST_MS: u64 = 100;
/// The longest such wait, in ms: a full inbox that was read is filled again within it.
pub const AGAIN_MAX_MS: u64 = 10_000;
/// How long a stream waits when its link's queue is full, in ms: what the queue holds is sent then.
pub const FULL_MS: u64 = 20;
/// How long a request for a new certificate may stay unanswered, in ms: a dial by every way, and an
/// authority that is busy with a few thousand others.
pub const RENEW_MS: u64 = 20_000;
/// Circuits between members and the authority through a node that is no relay: a renewal takes a
/// second, and each is ended by whoever asked.
pub const CARRIED_MAX: usize = 16;
/// Neighbours that are asked to carry to the authority in one round, each a handshake.
pub const CARRIERS_TRIED: usize = 4;
/// Within what time a link is made anew after a renewal, in ms, or a quarter of what is left of the
/// old certificate: a renewal of the authority's own is noticed by all at once.
pub const REFRESH_MS: u64 = 60_000;
/// The part of a certificate's life over which the moments of renewal are spread, before two thirds
/// have passed: a tenth of a week is 17 hours.
pub const RENEW_SPREAD_PARTS: i64 = 10;
/// And the part of it that the last of these moments lies before two thirds: who renews is not to
/// be late while it does so. Of a week it is 5.6 hours.
pub const RENEW_MARGIN_PARTS: i64 = 30;
/// The first wait after a renewal that failed, in ms; doubled each time, with jitter.
pub const RENEW_RETRY_FIRST_MS: u64 = 1_000;
/// The longest such wait, in ms.
pub const RENEW_RETRY_MAX_MS: u64 = 3_600_000;
/// The longest such wait once the certificate has ended, in ms: somebody waits for this node.
pub const RENEW_ENDED_MS: u64 = 60_000;
/// No wait is longer than this part of what is left: there are always a dozen tries more.
pub const RENEW_LEFT_PARTS: u64 = 12;
