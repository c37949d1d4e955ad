//! What the sentinel is told of: each is an anomaly, none is a judgement.

use shared::name::NodeName;

use crate::measure::SourceId;
use crate::moment::Utc;

/// Something about time that a person or the sentinel should know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Event {
    /// Three answers in a row lay outside what was accepted.
    #[error("{source_id} is {offset_ns} ns off, and may be {bound_ns} ns")]
    Liar {
        /// Who.
        source_id: SourceId,
        /// Its clock less ours, in ns.
        offset_ns: i64,
        /// How far that may be, in ns.
        bound_ns: u64,
    },
    /// A node has signed two statements that cannot both be true.
    #[error("{node} has signed two times that contradict each other")]
    TwoFaced {
        /// Who.
        node: NodeName,
        /// The two, as they were signed: whoever has the network's trust can check them.
        statements: [Vec<u8>; 2],
    },
    /// A node's run goes on twice: it was copied, or set back to an earlier moment.
    #[error("{node} goes on twice from one moment: it was copied, or set back")]
    Copied {
        /// Who.
        node: NodeName,
        /// Two statements of it that show this, as they were signed.
        statements: [Vec<u8>; 2],
    },
    /// Our clock was set, or is to be moved by more than a step's worth.
    #[error("the clock is moved by {by_ns} ns")]
    Step {
        /// By how much, in ns.
        by_ns: i64,
        /// Whether at once; otherwise with 500 ppm.
        at_once: bool,
    },
    /// The roots contradict each other, and none has a majority.
    #[error("{votes} of {roots} roots answer and have no majority")]
    NoMajority {
        /// Roots that answer.
        votes: usize,
        /// Roots configured.
        roots: usize,
    },
    /// Too few roots answer: this is the mesh's own time.
    #[error("{votes} of {roots} roots answer: mesh time of {nodes} nodes")]
    Isolated {
        /// Roots that answer.
        votes: usize,
        /// Roots configured.
        roots: usize,
        /// Nodes whose midpoint is taken.
        nodes: usize,
    },
    /// A member without the role claims to be close to a root.
    #[error("{source_id} claims stratum {stratum} without the role time-root")]
    BadRole {
        /// Who.
        source_id: SourceId,
        /// What it claims.
        stratum: u8,
    },
    /// A time before the floor, or a system clock that was set back.
    #[error("a clock shows {at}, and it is later than {floor}")]
    Rollback {
        /// What it shows.
        at: Utc,
        /// What it is later than.
        floor: Utc,
    },
    /// A server refuses cookies again and again.
    #[error("{source_id} has refused {naks} cookies in a row")]
    NakStorm {
        /// Who.
        source_id: SourceId,
        /// How many.
        naks: u32,
    },
    /// A plain answer to an authenticated question: somebody strips NTS.
    #[error("{source_id} answered a question with NTS without it")]
    Strip {
        /// Who.
        source_id: SourceId,
    },
}

impl Event {
    /// Its stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Liar { .. } => "clock-liar",
            Self::TwoFaced { .. } => "clock-two-faced",
            Self::Copied { .. } => "clock-copied",
            Self::Step { .. } => "clock-step",
            Self::NoMajority { .. } => "no-majority",
            Self::Isolated { .. } => "isolated",
            Self::BadRole { .. } => "bad-role",
            Self::Rollback { .. } => "rollback",
            Self::NakStorm { .. } => "nts-nak-storm",
            Self::Strip { .. } => "nts-strip",
        }
    }
}
