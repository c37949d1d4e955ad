//! What should happen: the only things a node does to the world.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use shared::feed::Mark;
use shared::id::{InstanceId, Serial};
use shared::join::Failure;
use shared::name::NodeName;
use shared::receipt::SignedReceipt;
use shared::refusal::Code;
use shared::time::Timestamp;
use shared::wire::{Ack, Batch, BroadcastId, Hop, Number, Pack, Token};

use crate::circuits::CircuitId;
use crate::dialling::By;
use crate::links::{Direction, LinkId};
use crate::post::{StreamId, Want};

/// Whoever asked for something; the driver made the number.
pub type RequestId = u64;

/// The three queues of a link, in the order they are emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Feed, acknowledgements, presences, pings.
    Control,
    /// Messages and receipts.
    Message,
}

/// How a link ends by our will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Dead at once, whatever is queued: the other side is out.
    Cut,
    /// With a goodbye, after what is queued.
    Close,
}

/// A dial: whom, and by which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A node at an address that a person configured or the node itself signed.
    Known {
        /// Whom to expect.
        node: NodeName,
        /// Where.
        address: String,
    },
    /// An address whose node is not known: its certificate will tell.
    Unnamed {
        /// Where.
        address: String,
    },
    /// A node that cannot be dialled: ask a relay for it.
    Relayed {
        /// Whom to expect.
        node: NodeName,
        /// The relay.
        relay: NodeName,
        /// Where the relay is.
        address: String,
    },
    /// The other end of such a call: a relay told us that somebody wants to talk with us.
    Answered {
        /// Who called.
        node: NodeName,
        /// The relay.
        relay: NodeName,
        /// Where the relay is.
        address: String,
        /// What to show there.
        token: Token,
    },
    /// The other end of a relayed link, from our listening port, while it does so from its own.
    /// Whoever comes to our listener from there belongs to this call, and an earlier one is over.
    Punched {
        /// Whom to expect.
        node: NodeName,
        /// Where it may be met; each is tried.
        addresses: Vec<SocketAddr>,
        /// Which side of the handshake we are: whoever dialled the relayed link is it again.
        direction: Direction,
    },
}

/// A broadcast on several links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spreading {
    /// To linked nodes alone, by our number.
    Direct(u64),
    /// Signed, and passed on by them.
    Carried(BroadcastId),
}

/// Whose a pack is that an application takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerTo {
    /// The other side's of a link, by its number.
    Link(LinkId, u64),
    /// A broadcast's, that others carry.
    Carried(BroadcastId),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Queue a frame on a link.
    Send {
        /// The link.
        link: LinkId,
        /// Which queue.
        class: Class,
        /// The frame, header included.
        frame: Vec<u8>,
    },
    /// Queue one frame on several links; where it finds no room, call
    /// [`crate::Node::handle_unheard`].
    Spread {
        /// The links.
        links: Vec<LinkId>,
        /// Which broadcast.
        what: Spreading,
        /// The frame, header included.
        frame: Vec<u8>,
    },
    /// End a link. The node has forgotten it already.
    End {
        /// The link.
        link: LinkId,
        /// How.
        way: Way,
    },
    /// Dial.
    Dial(Call),
    /// End a circuit through us: cut it, or tell the asker the code if it is not yet one.
    EndCircuit {
        /// The circuit. The node has forgotten it already.
        circuit: CircuitId,
        /// What the asker may hear.
        code: Code,
    },
    /// Somebody brought a signed time statement; nothing of it is verified.
    Shown {
        /// On which link.
        link: LinkId,
        /// The statement.
        bytes: Vec<u8>,
    },
    /// Write the feed to disk.
    SaveFeed,
    /// Write the policy to disk.
    SavePolicy,
    /// Write what is remembered of others ([`crate::Node::remembered`]) to disk.
    SaveMemory,
    /// Put a message into the inbox, then call [`crate::Node::handle_stored`].
    Deliver {
        /// The link it came on.
        link: LinkId,
        /// Who sent it.
        from: NodeName,
        /// The sender's run.
        instance: InstanceId,
        /// The sender's number.
        id: u64,
        /// What is said.
        body: Vec<u8>,
    },
    /// Hand a pack to the application that listens, then call [`crate::Node::handle_handed`].
    Hand {
        /// What to say then.
        to: AnswerTo,
        /// Who sent it.
        from: NodeName,
        /// The messages.
        pack: Pack,
    },
    /// Put a batch into the inbox, then call [`crate::Node::handle_taken`].
    Store {
        /// The link it came on.
        link: LinkId,
        /// Who sent it.
        from: NodeName,
        /// The messages.
        batch: Batch,
    },
    /// Read the outbox, then call [`crate::Node::handle_page`].
    Load(Want),
    /// Messages of the outbox have arrived: forget those up to a number.
    Settle {
        /// Of which stream.
        stream: StreamId,
        /// Up to here.
        through: Number,
    },
    /// The receiver may have no more of a stream: drop it with a record.
    Discard {
        /// Which stream.
        stream: StreamId,
        /// Why.
        code: Code,
        /// Only what was queued by then.
        before: Option<Timestamp>,
    },
    /// Keep a receipt for a message of ours, if one is waited for.
    Receipted(Box<SignedReceipt>),
    /// Look which receipts of a receiver are missing, then call [`crate::Node::handle_missing`].
    Missing(NodeName),
    /// Look up receipts that a sender asks for again, then call [`crate::Node::handle_claimed`].
    Claimed {
        /// The link it asked on.
        link: LinkId,
        /// Who sent the messages.
        from: NodeName,
        /// Their numbers.
        numbers: Vec<Number>,
    },
    /// Send a ping and note the time.
    Ping {
        /// The link.
        link: LinkId,
        /// To be sent back.
        nonce: u64,
    },
    /// A ping came back.
    Ponged {
        /// The link.
        link: LinkId,
        /// The ping's.
        nonce: u64,
    },
    /// Answer a request.
    Answer {
        /// The request.
        request: RequestId,
        /// The answer.
        outcome: Outcome,
    },
    /// A broadcast has come as far as it does.
    Reached {
        /// The request.
        request: RequestId,
        /// How far.
        reach: Reach,
    },
    /// The way to a node was found: the steps, as those on the way tell them.
    Traced {
        /// The request.
        request: RequestId,
        /// From the first neighbour to the node itself.
        path: Vec<Hop>,
    },
    /// Somebody has what was brought in here.
    Acknowledged {
        /// What.
        of: Of,
        /// Who has which number.
        ack: Ack,
    },
    /// To the authority: certify a key for a member, then call
    /// [`crate::Node::handle_renewal_answered`].
    Renew(Box<Petition>),
    /// What became of our own wish for a new certificate.
    Renewed {
        /// The request.
        request: RequestId,
        /// What became of it. Nothing of it is verified.
        outcome: Renewed,
    },
    /// Something to log, to count and to show.
    Tell(Event),
}

/// Which of the authority's news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The feed.
    Feed,
    /// The policy.
    Policy,
}

/// A member's wish for a new certificate, at the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Petition {
    /// The link it came on.
    pub link: LinkId,
    /// The asker's number for it.
    pub id: u64,
    /// Who asks.
    pub from: NodeName,
    /// The serial number of the certificate it showed.
    pub serial: Serial,
    /// That certificate and those above it, DER.
    pub chain: Vec<Vec<u8>>,
    /// Its request, DER.
    pub csr: Vec<u8>,
}

/// What became of a wish for a new certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// A certificate and those above it, DER.
    Granted(Vec<Vec<u8>>),
    /// The authority's no.
    Refused(Failure),
    /// The authority was not reached, or did not answer.
    Unreachable(&'static str),
}

/// What became of a message or a ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the receiver's disk, or the ping came back.
    Delivered,
    /// Refused, by them or by us.
    Refused(Code),
    /// There is no link, or it ended before the answer.
    Unreachable(&'static str),
}

/// How far a broadcast came: in a full mesh every node that it was meant for is in one of the two,
/// in a larger network as many of the missed as those in between name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// How many nodes' applications have taken it.
    pub taken: u32,
    /// Who has not, and why.
    pub missed: BTreeMap<NodeName, Code>,
}

/// Why a link ended, as the driver saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The code and whose it is, if there was a refusal.
    pub refused: Option<(Code, By)>,
    /// In words, for the log.
    pub detail: String,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link is up.
    Linked {
        /// With whom.
        node: NodeName,
        /// Who dialled.
        direction: Direction,
        /// Where.
        address: String,
        /// Through which relay, if it is not direct.
        via: Option<NodeName>,
    },
    /// A link is down.
    Unlinked {
        /// With whom.
        node: NodeName,
        /// Why.
        why: String,
    },
    /// A link was cut because its node is out.
    Cut {
        /// Who.
        node: NodeName,
        /// Why and since when.
        mark: Mark,
    },
    /// Two members talk through us from now on.
    CircuitMade {
        /// Who asked.
        from: NodeName,
        /// Who was called.
        to: NodeName,
    },
    /// A circuit through us was cut because one end is out.
    CircuitCut {
        /// Who is.
        node: NodeName,
        /// Why and since when.
        mark: Mark,
    },
    /// A circuit through us was cut because the policy denies it now.
    CircuitForbidden {
        /// Who asked.
        from: NodeName,
        /// Who was called.
        to: NodeName,
    },
    /// A node was refused after its handshake.
    Refused {
        /// Who.
        node: NodeName,
        /// From where.
        address: String,
        /// The code it was told.
        code: Code,
        /// Why.
        detail: String,
    },
    /// One certificate is alive in two runs: the two statements, signed by its key. Told once for
    /// each pair of instances.
    Twins {
        /// Whose certificate.
        node: NodeName,
        /// What was known first, and what contradicts it.
        statements: [Vec<u8>; 2],
    },
    /// The feed went forward.
    FeedApplied {
        /// Its number now.
        number: u64,
        /// Links cut for it.
        cut: u32,
    },
    /// A feed was refused.
    FeedRefused {
        /// From whom.
        from: NodeName,
        /// Why.
        why: String,
        /// Whether it proves that the authority's key signs two histories, or that somebody tries
        /// to turn the feed back.
        serious: bool,
    },
    /// Another policy holds.
    PolicyApplied {
        /// Its number.
        number: u64,
        /// Links cut for it.
        cut: u32,
    },
    /// A policy was refused.
    PolicyRefused {
        /// From whom.
        from: NodeName,
        /// Why.
        why: String,
        /// Whether it proves that the authority's key signs two policies under one number.
        serious: bool,
    },
    /// The feed is old: by when it should have been signed again.
    FeedStale {
        /// Already past, or only soon.
        past: bool,
    },
    /// We ourselves are revoked or suspended.
    SelfBarred {
        /// Why and since when.
        mark: Mark,
    },
}
