//! A time statement: what a node's own clock showed, signed by it.
//!
//! It names the run, a count of statements, the machine's own count of nanoseconds, the time that
//! the clock showed then and how wrong that may be. A clock of this network is not stepped after
//! its start and never moved faster than a thousandth: so two statements of one run bound each
//! other, and a node that tells one time here and another there has signed the proof of it.
//!
//! A machine that was copied while it ran, or set back to an earlier moment, goes on from one state
//! twice with an honest clock: two statements with one number, or a count that goes back, show that
//! and no more.
//!
//! **Invariant:** no clock that keeps those rules, in a run that goes on once, makes two statements
//! that contradict each other; a [`Proof`] was signed twice by the key of one verified member.

use minicbor::{Decode, Encode};

use crate::cert::{NodeCert, Usage};
use crate::id::InstanceId;
use crate::key::{KeyError, PrivateKey};
use crate::limits::{SHOWN_RATE_PARTS, SHOWN_SLACK_NS};
use crate::name::{NetworkName, NodeName};
use crate::refusal::{Code, Refusal};
use crate::statement::{self, Topic, Unverified, cbor};
use crate::time::Timestamp;
use crate::verify::{Member, Verified, Verifier};

/// What a clock showed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Shown {
    /// Whose clock.
    #[n(0)]
    pub node: NodeName,
    /// Which run of the daemon.
    #[n(1)]
    pub instance: InstanceId,
    /// Counts time statements within one run.
    #[n(2)]
    pub sequence: u64,
    /// How often the clock was stepped in this run; only at the start.
    #[n(3)]
    pub steps: u8,
    /// The machine's own count, in ns.
    #[n(4)]
    pub count_ns: u64,
    /// What the clock showed then, in ns since 1970.
    #[n(5)]
    pub utc_ns: i64,
    /// How wrong that may be, in ns; the greatest number if nobody knows.
    #[n(6)]
    pub bound_ns: u64,
}

impl Shown {
    /// Signs it with the node's key; `chain` is the node's, leaf first.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign(
        &self,
        network: &NetworkName,
        key: &PrivateKey,
        chain: &[&[u8]],
    ) -> Result<Vec<u8>, KeyError> {
        statement::sign(Topic::Shown, network, key, chain, &self.to_bytes())
    }

    /// Reads what is signed, believing nothing: only its one encoding.
    #[must_use]
    pub fn from_bytes(payload: &[u8]) -> Option<Self> {
        let shown: Self = minicbor::decode(payload).ok()?;
        (shown.to_bytes() == payload).then_some(shown)
    }

    /// What is signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor(|e| e.encode(self)?.ok())
    }

    /// Why this and `other` cannot both be what one honest clock showed in one run. How wrong the
    /// clock says it may be excuses nothing: however little it knows, it is not moved faster.
    #[must_use]
    pub fn contradiction(&self, other: &Self) -> Option<Contradiction> {
        if (&self.node, self.instance) != (&other.node, other.instance) || self == other {
            return None;
        }
        let (first, then) =
            if self.sequence <= other.sequence { (self, other) } else { (other, self) };
        if first.sequence == then.sequence
            || then.count_ns < first.count_ns
            || then.steps < first.steps
        {
            return Some(Contradiction::Twice);
        }
        let passed = i128::from(then.count_ns - first.count_ns);
        let moved = (i128::from(then.utc_ns) - i128::from(first.utc_ns) - passed).abs();
        let allowed = passed / SHOWN_RATE_PARTS + SHOWN_SLACK_NS;
        (first.steps == then.steps && moved > allowed).then_some(Contradiction::TwoTimes)
    }
}

/// What two statements of one run show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contradiction {
    /// The run goes on twice: one number for two statements, or a count or steps that go back.
    Twice,
    /// A time that moved against the count faster than any correction.
    TwoTimes,
}

/// A time statement with its signature, and the member who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedShown {
    /// The statement, as it came.
    pub bytes: Vec<u8>,
    /// What it says.
    pub shown: Shown,
    /// Who signed it.
    pub member: Verified<Member>,
}

impl SignedShown {
    /// Verifies a time statement: its chain as of when it was heard, its signature, and that it is
    /// about its signer. The time in it is not judged: that is what it is for.
    ///
    /// # Errors
    /// [`Refusal`]: what the verifier says of the chain, or `malformed`.
    pub fn verify(
        bytes: &[u8],
        network: &NetworkName,
        verifier: &Verifier,
        heard: Timestamp,
    ) -> Result<Self, Refusal> {
        let malformed = |text: String| Refusal::new(Code::Malformed, format!("time: {text}"));
        let statement = Unverified::parse(Topic::Shown, bytes);
        let statement = statement.map_err(|error| malformed(error.to_string()))?;
        let shown = Shown::from_bytes(statement.unverified_payload());
        let shown = shown.ok_or_else(|| malformed("unreadable".to_owned()))?;
        let usages = [Usage::Client, Usage::Server];
        let admit = |usage| verifier.admit(statement.chain(), usage, Some(&shown.node), heard);
        let [client, server] = usages.map(admit);
        let member = client.or(server)?;
        statement
            .verify(network, &member.cert.public)
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self { bytes: bytes.to_vec(), shown, member })
    }

    /// The day on which to judge a statement that is evidence: what it says itself, as far as the
    /// life of its certificate goes. Believes nothing; `None` if it cannot be read.
    #[must_use]
    pub fn day_of(bytes: &[u8]) -> Option<Timestamp> {
        let statement = Unverified::parse(Topic::Shown, bytes).ok()?;
        let said_ms = Shown::from_bytes(statement.unverified_payload())?.utc_ns / 1_000_000;
        let leaf = NodeCert::read(statement.chain().first()?).ok()?;
        let said = Timestamp::from_ms(said_ms);
        Some(said.min(leaf.not_after).max(leaf.not_before))
    }
}

/// Two statements of one node that contradict each other: a proof that whoever has the network's
/// trust can check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who.
    pub node: NodeName,
    /// Of what.
    pub shows: Contradiction,
    /// The two, as they were signed.
    pub statements: [Vec<u8>; 2],
}

impl Proof {
    /// Whether two statements that were verified are one.
    #[must_use]
    pub fn of(one: &SignedShown, other: &SignedShown) -> Option<Self> {
        let statements = [one.bytes.clone(), other.bytes.clone()];
        let node = one.shown.node.clone();
        let shows = one.shown.contradiction(&other.shown)?;
        Some(Self { node, shows, statements })
    }

    /// Checks one that somebody brings; `heard` is when it was heard, by whoever judges.
    ///
    /// # Errors
    /// [`Refusal`]: what is wrong with either statement, or `malformed` if both can be true.
    pub fn check(
        statements: [&[u8]; 2],
        network: &NetworkName,
        verifier: &Verifier,
        heard: Timestamp,
    ) -> Result<Self, Refusal> {
        let [one, other] =
            statements.map(|bytes| SignedShown::verify(bytes, network, verifier, heard));
        let harmless = || Refusal::new(Code::Malformed, "time: both statements can be true");
        Self::of(&one?, &other?).ok_or_else(harmless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn shown(sequence: u64, count_s: u64, utc_ns: i64) -> Shown {
        Shown {
            node: NodeName::parse("bob").unwrap(),
            instance: InstanceId::new([7; 16]),
            sequence,
            steps: 1,
            count_ns: count_s * S.unsigned_abs(),
            utc_ns,
            bound_ns: 1_000_000,
        }
    }

    fn shows(one: &Shown, other: &Shown) -> Option<Contradiction> {
        assert_eq!(one.contradiction(other), other.contradiction(one));
        one.contradiction(other)
    }

    fn contradict(one: &Shown, other: &Shown) -> bool {
        shows(one, other).is_some()
    }

    #[test]
    fn one_encoding_and_back() {
        let said = shown(u64::MAX, 5, i64::MIN);
        assert_eq!(Shown::from_bytes(&said.to_bytes()), Some(said.clone()));
        let mut longer = said.to_bytes();
        longer.push(0);
        assert_eq!(Shown::from_bytes(&longer), None);
        let bytes = shown(1, 5, 7).to_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Shown::from_bytes(&bytes[..cut]), None);
        }
        // The number 1 in two octets is another encoding of the same.
        let at = bytes.iter().rposition(|octet| *octet == 0x50).unwrap() + 17;
        let mut padded = bytes.clone();
        padded.splice(at..=at, [0x18, 0x01]);
        assert!(minicbor::decode::<Shown>(&padded).is_ok() && Shown::from_bytes(&padded).is_none());
    }

    #[test]
    fn an_honest_clock_does_not_contradict_itself() {
        let first = shown(1, 100, 0);
        assert!(!contradict(&first, &first));
        assert!(!contradict(&first, &shown(2, 100, 0)), "at once");
        let hour = 3_600 * S;
        let fast = shown(2, 3_700, hour + hour / 1000);
        assert!(!contradict(&first, &fast), "as fast as it may be moved");
        assert!(!contradict(&first, &shown(2, 3_700, hour - hour / 1000)));
        let limit = hour + hour / 1000 + SHOWN_SLACK_NS as i64;
        assert!(!contradict(&first, &shown(2, 3_700, limit)), "the edge");
        assert!(contradict(&first, &shown(2, 3_700, limit + 1)));
    }

    #[test]
    fn two_faces_are_seen() {
        let first = shown(5, 100, 0);
        for then in
            [shown(6, 101, 3 * S), shown(6, 101, -S), shown(6, u64::MAX / 1_000_000_001, i64::MIN)]
        {
            assert_eq!(shows(&first, &then), Some(Contradiction::TwoTimes), "{then:?}");
            let unsure = Shown { bound_ns: u64::MAX, ..then };
            assert_eq!(shows(&first, &unsure), Some(Contradiction::TwoTimes), "no excuse");
        }
    }

    /// An honest machine of which somebody took a copy while it ran, or that was set back: its
    /// clock goes on as before, from an earlier moment, and is right.
    #[test]
    fn a_run_that_goes_on_twice_is_a_copy_and_no_lie() {
        let first = shown(5, 100, 0);
        for then in [shown(5, 100, 1), shown(5, 160, 60 * S), shown(6, 99, 0)] {
            assert_eq!(shows(&first, &then), Some(Contradiction::Twice), "{then:?}");
        }
        let back = Shown { steps: 0, ..shown(6, 160, 60 * S) };
        assert_eq!(shows(&first, &back), Some(Contradiction::Twice), "steps are not taken back");
    }

    #[test]
    fn a_step_at_the_start_another_run_and_ignorance_are_no_lies() {
        let first = shown(1, 100, 0);
        let stepped = Shown { steps: 2, ..shown(2, 101, 900 * S) };
        assert!(!contradict(&first, &stepped));
        assert!(contradict(&stepped, &shown(3, 102, 0)), "steps are not taken back");
        let restarted = Shown { instance: InstanceId::new([8; 16]), ..shown(1, 0, 900 * S) };
        assert!(!contradict(&first, &restarted));
        let other = Shown { node: NodeName::parse("eve").unwrap(), ..shown(2, 101, 900 * S) };
        assert!(!contradict(&first, &other));
        let unsure = Shown { bound_ns: u64::MAX, ..shown(2, 101, S) };
        assert!(!contradict(&first, &unsure));
    }
}
