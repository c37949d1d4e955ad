//! Policy: who may do what, written by the authority, the same everywhere.
//!
//! Rules are looked at in order and the first that matches decides; if none does, the answer is no.
//! A policy is numbered and signed like the feed; a network without one uses [`Policy::built_in`]:
//! members may talk. Nothing here knows YAML: what travels and what is decided on are these types.
//!
//! **Invariant:** a [`SignedPolicy`] was signed by an issuing certificate under a trusted root, and
//! its rules are within their bounds and free of contradictions.

mod decide;
mod filter;
mod lint;
mod rule;
mod signed;

pub use decide::{Decision, Policing, Request, Standing, Who};
pub use filter::{Filter, FilterError, covers, is_topic, matches, overlaps};
pub use lint::{Contradiction, lint};
pub use rule::{Ask, Effect, Grant, Ports, Quota, Rates, Rule, Selector};
pub use signed::{Policy, PolicyError, SignedPolicy};
