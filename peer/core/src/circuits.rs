//! Circuits of others through us: who asked for whom, which calls are open, what must end.
//!
//! A relay carries what it cannot read, so the little it can do is done here: only members, never
//! more than the bounds, each call taken once and by the one who was called, and a circuit ends
//! with the standing of either end, or when the policy does not let the one connect the other.
//!
//! **Invariant:** a token is known until it is taken, declined or too old, and never again.

use std::collections::BTreeMap;

use shared::cert::Attributes;
use shared::feed::{ChainIds, Mark};
use shared::name::NodeName;
use shared::policy::Who;
use shared::refusal::{Code, Refusal};
use shared::time::Tick;
use shared::verify::Member;
use shared::wire::Token;

use crate::limits::{CALL_MS, CIRCUIT_MS, CIRCUITS_MAX, CIRCUITS_PER_MEMBER};

/// A circuit through us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitId(pub u64);

/// How much of others' traffic we carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBounds {
    /// Circuits of one member, whichever end it is.
    pub per_member: usize,
    /// Circuits in all.
    pub overall: usize,
}

impl Default for CircuitBounds {
    fn default() -> Self {
        Self { per_member: CIRCUITS_PER_MEMBER, overall: CIRCUITS_MAX }
    }
}

/// One end of a circuit: what the revocation set and the policy are asked about it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    ids: ChainIds,
    attributes: Attributes,
}

impl End {
    pub(crate) fn of(member: &Member) -> Self {
        Self { ids: member.ids.clone(), attributes: member.cert.attributes.clone() }
    }

    const fn node(&self) -> &NodeName {
        &self.ids.leaf.node
    }

    const fn who(&self) -> Who<'_> {
        Who { node: self.node(), attributes: &self.attributes }
    }
}

#[derive(Debug)]
struct Entry {
    asker: End,
    called: End,
    /// The call, until it is answered.
    token: Option<Token>,
    /// Whether the one who is called has heard of it.
    told: bool,
    until: Tick,
}

impl Entry {
    fn has(&self, node: &NodeName) -> bool {
        self.asker.node() == node || self.called.node() == node
    }
}

#[derive(Debug, Default)]
pub(crate) struct Circuits {
    pub(crate) bounds: CircuitBounds,
    table: BTreeMap<CircuitId, Entry>,
    next: u64,
}

impl Circuits {
    /// A member asks for another; the call goes out with this token, see [`Circuits::untold`].
    ///
    /// # Errors
    /// `quota`, with the bound that was reached; `malformed` if it asks for itself.
    pub(crate) fn ask(
        &mut self,
        asker: End,
        called: End,
        token: Token,
        now: Tick,
    ) -> Result<CircuitId, Refusal> {
        let CircuitBounds { per_member, overall } = self.bounds;
        let (from, to) = (asker.node(), called.node());
        if from == to {
            return Err(Refusal::new(Code::Malformed, format!("{from} asks for itself")));
        }
        if self.table.len() >= overall {
            return Err(Refusal::new(Code::Quota, format!("{overall} circuits are in use")));
        }
        if let Some(full) = [from, to].into_iter().find(|node| self.count(node) >= per_member) {
            let detail = format!("{full} has {per_member} circuits here");
            return Err(Refusal::new(Code::Quota, detail));
        }
        self.next += 1;
        let (id, until) = (CircuitId(self.next), now.plus_ms(CALL_MS));
        self.table.insert(id, Entry { asker, called, token: Some(token), told: false, until });
        Ok(id)
    }

    /// Calls that a node has not heard of, each with who asks; it hears of them now.
    pub(crate) fn untold(&mut self, node: &NodeName) -> Vec<(Token, NodeName)> {
        let is_fresh = |entry: &&mut Entry| !entry.told && entry.called.node() == node;
        let fresh = self.table.values_mut().filter(is_fresh);
        let tell = |entry: &mut Entry| {
            entry.told = true;
            Some((entry.token?, entry.asker.node().clone()))
        };
        fresh.filter_map(tell).collect()
    }

    /// Calls that a node will not hear of; they are forgotten.
    pub(crate) fn unheard(&mut self, node: &NodeName) -> Vec<CircuitId> {
        let lost = self.table.iter().filter(|(_, e)| !e.told && e.called.node() == node);
        let lost: Vec<CircuitId> = lost.map(|(id, _)| *id).collect();
        lost.iter().for_each(|id| self.ended(*id));
        lost
    }

    /// Somebody shows a token: it becomes the other end, once, if it is the one who was called.
    ///
    /// # Errors
    /// `policy`, which says as little as possible.
    pub(crate) fn take(
        &mut self,
        taker: End,
        token: Token,
        now: Tick,
    ) -> Result<CircuitId, Refusal> {
        let found = self.calling(taker.node(), token).filter(|(_, entry)| now < entry.until);
        let (id, entry) = found.ok_or_else(|| Refusal::new(Code::Policy, "no such call"))?;
        entry.token = None;
        entry.called = taker;
        entry.until = now.plus_ms(CIRCUIT_MS);
        Ok(id)
    }

    /// The one who was called does not want to.
    pub(crate) fn decline(&mut self, by: &NodeName, token: Token) -> Option<CircuitId> {
        let (id, _) = self.calling(by, token)?;
        self.table.remove(&id);
        Some(id)
    }

    /// A circuit is over.
    pub(crate) fn ended(&mut self, id: CircuitId) {
        self.table.remove(&id);
    }

    /// Calls that nobody took in time, and circuits that lasted long enough.
    pub(crate) fn overdue(&mut self, now: Tick) -> Vec<CircuitId> {
        let over = self.table.iter().filter(|(_, entry)| now >= entry.until);
        let over: Vec<CircuitId> = over.map(|(id, _)| *id).collect();
        over.iter().for_each(|id| self.ended(*id));
        over
    }

    /// Circuits of which one end is out now; they are forgotten.
    pub(crate) fn barred(
        &mut self,
        judge: impl Fn(&ChainIds) -> Option<Mark>,
    ) -> Vec<(CircuitId, NodeName, Mark)> {
        let mut barred = Vec::new();
        self.table.retain(|id, entry| {
            let out = [&entry.asker, &entry.called].into_iter().find_map(|end| {
                let mark = judge(&end.ids)?;
                Some((*id, end.node().clone(), mark))
            });
            let stays = out.is_none();
            barred.extend(out);
            stays
        });
        barred
    }

    /// Circuits, and calls, whose asker may not connect the one called any more; they are
    /// forgotten.
    pub(crate) fn forbidden(
        &mut self,
        may: impl Fn(Who<'_>, Who<'_>) -> bool,
    ) -> Vec<(CircuitId, NodeName, NodeName)> {
        let denied = |entry: &Entry| !may(entry.asker.who(), entry.called.who());
        let gone = self.table.extract_if(.., |_, entry| denied(entry));
        gone.map(|(id, e)| (id, e.asker.ids.leaf.node, e.called.ids.leaf.node)).collect()
    }

    /// Who asked, and who was called.
    pub(crate) fn ends(&self, id: CircuitId) -> Option<(NodeName, NodeName)> {
        let entry = self.table.get(&id)?;
        Some((entry.asker.node().clone(), entry.called.node().clone()))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    fn count(&self, node: &NodeName) -> usize {
        self.table.values().filter(|entry| entry.has(node)).count()
    }

    fn calling(&mut self, called: &NodeName, token: Token) -> Option<(CircuitId, &mut Entry)> {
        let mut open = self.table.iter_mut();
        let found = open.find(|(_, entry)| entry.token == Some(token));
        found.filter(|(_, e)| e.called.node() == called).map(|(id, entry)| (*id, entry))
    }
}

/// How fast one direction of a circuit may go: a bucket of bytes, filled by time.
#[derive(Debug)]
pub struct Flow {
    per_second: u64,
    tokens: u64,
    at: Tick,
}

impl Flow {
    /// A full bucket that holds what flows in a second.
    #[must_use]
    pub const fn new(per_second: u64, now: Tick) -> Self {
        Self { per_second, tokens: per_second, at: now }
    }

    /// Takes bytes that have come already; how long to wait before the next are read, in ms.
    pub fn take(&mut self, bytes: u64, now: Tick) -> u64 {
        let earned = now.ms_since(self.at).saturating_mul(self.per_second) / 1000;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(self.per_second);
            self.at = now;
        }
        let missing = bytes.saturating_sub(self.tokens);
        self.tokens = self.tokens.saturating_sub(bytes);
        missing.saturating_mul(1000).div_ceil(self.per_second.max(1))
    }
}

#[cfg(test)]
mod tests {
    use shared::feed::{LeafIds, Reason, Status};
    use shared::id::{KeyId, Serial, SpkiHash};
    use shared::time::Timestamp;

    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn end(node: &str) -> End {
        let leaf = LeafIds {
            issuer: KeyId::new([0; 20]),
            serial: Serial::from_random([1; 16]),
            spki: SpkiHash::new([0; 32]),
            node: NodeName::parse(node).unwrap(),
            not_before: Timestamp::from_s(0),
        };
        let ids = ChainIds { leaf, issuers: Vec::new() };
        End { ids, attributes: Attributes::default() }
    }

    fn token(octet: u8) -> Token {
        Token::new([octet; 32])
    }

    fn ask(circuits: &mut Circuits, from: &str, to: &str, octet: u8) -> Result<CircuitId, Code> {
        circuits.ask(end(from), end(to), token(octet), at(0)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_call_is_taken_once_and_by_the_one_called() {
        let mut circuits = Circuits::default();
        let id = ask(&mut circuits, "alice", "bob", 1).unwrap();
        assert!(circuits.take(end("carol"), token(1), at(1)).is_err(), "another member");
        assert!(circuits.take(end("bob"), token(2), at(1)).is_err(), "another token");
        assert_eq!(circuits.take(end("bob"), token(1), at(1)), Ok(id));
        assert!(circuits.take(end("bob"), token(1), at(2)).is_err(), "a replay");
    }

    #[test]
    fn each_call_is_told_once_and_what_nobody_hears_of_is_lost() {
        let mut circuits = Circuits::default();
        ask(&mut circuits, "alice", "bob", 1).unwrap();
        ask(&mut circuits, "bob", "alice", 2).unwrap();
        assert_eq!(circuits.untold(end("bob").node()), [(token(1), end("alice").node().clone())]);
        assert_eq!(circuits.untold(end("bob").node()), []);
        let late = ask(&mut circuits, "carol", "bob", 3).unwrap();
        assert_eq!(circuits.unheard(end("bob").node()), [late]);
        assert!(circuits.take(end("bob"), token(3), at(1)).is_err());
        assert!(circuits.take(end("bob"), token(1), at(1)).is_ok(), "it had heard of this one");
        assert_eq!(circuits.unheard(end("carol").node()), []);
    }

    #[test]
    fn late_is_refused_and_forgotten() {
        let mut circuits = Circuits::default();
        let id = ask(&mut circuits, "alice", "bob", 1).unwrap();
        assert!(circuits.overdue(at(CALL_MS - 1)).is_empty());
        assert!(circuits.take(end("bob"), token(1), at(CALL_MS)).is_err());
        assert_eq!(circuits.overdue(at(CALL_MS)), [id]);
        assert_eq!(circuits.len(), 0);
        let id = ask(&mut circuits, "alice", "bob", 2).unwrap();
        circuits.take(end("bob"), token(2), at(CALL_MS - 1)).unwrap();
        assert!(circuits.overdue(at(CIRCUIT_MS)).is_empty(), "a circuit lives longer");
        assert_eq!(circuits.overdue(at(CALL_MS - 1 + CIRCUIT_MS)), [id]);
    }

    #[test]
    fn bounds_count_both_ends_and_free_again() {
        let bounds = CircuitBounds { per_member: 2, overall: 3 };
        let mut circuits = Circuits { bounds, ..Circuits::default() };
        let first = ask(&mut circuits, "alice", "bob", 1).unwrap();
        ask(&mut circuits, "carol", "bob", 2).unwrap();
        assert_eq!(ask(&mut circuits, "dave", "bob", 3), Err(Code::Quota));
        assert_eq!(ask(&mut circuits, "bob", "dave", 3), Err(Code::Quota));
        assert_eq!(ask(&mut circuits, "erin", "erin", 3), Err(Code::Malformed));
        ask(&mut circuits, "dave", "erin", 4).unwrap();
        assert_eq!(ask(&mut circuits, "frank", "grace", 5), Err(Code::Quota), "in all");
        circuits.ended(first);
        ask(&mut circuits, "dave", "bob", 6).unwrap();
    }

    #[test]
    fn only_the_one_called_declines() {
        let mut circuits = Circuits::default();
        let id = ask(&mut circuits, "alice", "bob", 1).unwrap();
        assert_eq!(circuits.decline(end("alice").node(), token(1)), None);
        assert_eq!(circuits.decline(end("bob").node(), token(1)), Some(id));
        assert!(circuits.take(end("bob"), token(1), at(1)).is_err());
    }

    #[test]
    fn exactly_the_circuits_of_the_one_who_is_out_end() {
        let mut circuits = Circuits::default();
        ask(&mut circuits, "alice", "bob", 1).unwrap();
        ask(&mut circuits, "carol", "alice", 2).unwrap();
        ask(&mut circuits, "carol", "bob", 3).unwrap();
        let mark = Mark {
            status: Status::Revoked,
            at: Timestamp::from_s(1),
            number: 1,
            reason: Reason::KeyCompromise,
            expires: Timestamp::from_s(9),
        };
        let judge = |ids: &ChainIds| (ids.leaf.node.as_str() == "alice").then_some(mark);
        assert_eq!(circuits.barred(judge).len(), 2);
        assert_eq!(circuits.len(), 1);
        assert!(circuits.barred(judge).is_empty());
    }

    #[test]
    fn exactly_the_circuits_that_are_forbidden_end_and_the_direction_counts() {
        let mut circuits = Circuits::default();
        let there = ask(&mut circuits, "alice", "bob", 1).unwrap();
        let back = ask(&mut circuits, "bob", "alice", 2).unwrap();
        let may = |from: Who<'_>, _: Who<'_>| from.node.as_str() != "alice";
        let gone = circuits.forbidden(may);
        assert_eq!(gone, [(there, end("alice").node().clone(), end("bob").node().clone())]);
        assert!(circuits.take(end("bob"), token(1), at(1)).is_err(), "the call is void");
        assert_eq!(circuits.take(end("alice"), token(2), at(1)), Ok(back));
        assert!(circuits.forbidden(may).is_empty());
    }

    #[test]
    fn a_second_of_bytes_is_free_and_the_rest_waits() {
        let mut flow = Flow::new(1000, at(0));
        assert_eq!(flow.take(1000, at(0)), 0);
        assert_eq!(flow.take(500, at(0)), 500);
        assert_eq!(flow.take(500, at(500)), 0);
        assert_eq!(flow.take(1000, at(60_000)), 0, "no more than a second is saved up");
        assert_eq!(flow.take(1, at(60_000)), 1);
    }
}
