//! What only peers think: links, dialling, feed flood, presences, messages. Pure, sans-I/O.
//!
//! [`Node`] is the hall; the other rooms are its organs and do not know each other. The contract of
//! every machine here: `handle_*(…, now)` takes news in, [`Node::poll_action`] gives actions out
//! until it has none, [`Node::next_deadline`] says when [`Node::handle_timeout`] is due. Whoever
//! drives it (the daemon, or a simulator with two hundred of them) performs the actions in order.
//!
//! **Invariant:** a link is in the table only with a `Verified<Member>`, and the live revocation
//! set is asked after it was entered.

mod action;
mod broadcasts;
mod bucket;
mod circuits;
mod dialling;
mod directory;
mod feeding;
mod gossip;
mod introducers;
mod leads;
pub mod limits;
mod links;
mod mail;
mod memory;
mod node;
mod policing;
mod post;
mod punch;
mod random;
mod renewal;
mod renewals;
mod signer;
mod staleness;
mod topology;
mod traces;
mod trees;
mod twins;
mod whom;
mod window;

pub use action::{
    Action, AnswerTo, Call, Class, Ended, Event, Of, Outcome, Petition, Reach, Renewed, RequestId,
    Spreading, Way,
};
pub use bucket::Rate;
pub use circuits::{CircuitBounds, CircuitId, Flow};
pub use dialling::{By, DialFailure, Prospect, Standing};
pub use leads::{Lead, Source};
pub use links::{Direction, LinkId, LinkView, Via};
pub use node::{
    Arrival, Decision, Expected, Intake, Node, NodeView, Owed, Receiver, Settings, Target,
};
pub use post::{StreamId, StreamView, Trouble, Want};
pub use renewal::{Calendar, Setback, Urgency};
pub use signer::Signer;
