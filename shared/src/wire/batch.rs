//! Queued messages on the wire: batches of a stream, how far they were taken, and receipts.
//!
//! A stream is what one sender has for one receiver at one priority. Its messages have rising
//! numbers; a batch carries several that follow one another, and the number of the one before
//! them. Fixed octets, because this is the hot path: a batch is copied once when it arrives, and
//! its messages are slices of that copy.
//!
//! **Invariant:** the numbers of a [`Batch`] rise, and so they do from `prev` to the first.

use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode};

use super::frame::{HEADER_BYTES, Kind};
use crate::limits::{BATCH_BYTES_MAX, CLAIMS_MAX, MESSAGE_BYTES_MAX, STATEMENT_BYTES_MAX};
use crate::refusal::Code;
use crate::statement::cbor;

/// How urgent a queued message is. A stream of its own each: a low one never delays a high one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Before all others.
    High,
    /// Unless said otherwise.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// All, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Its octet.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self as u8
    }

    /// Reads the octet.
    #[must_use]
    pub fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.get(usize::from(octet)).copied()
    }

    /// As it is typed and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Reads what a person typed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text)
    }
}

impl<C> Encode<C> for Priority {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(self.octet())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Priority {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_octet(d.u8()?)
            .ok_or_else(|| minicbor::decode::Error::message("unknown priority"))
    }
}

/// The number of a queued message: the sender's run in which it was queued, and a count in it.
/// Later messages have greater numbers, whatever their stream; nothing has number zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(array)]
pub struct Number {
    /// How often the sender had been started when the message was queued, from 1.
    #[n(0)]
    pub boot: u64,
    /// Counts in that run, from 1.
    #[n(1)]
    pub sequence: u64,
}

impl Number {
    /// Before all numbers.
    pub const ZERO: Self = Self { boot: 0, sequence: 0 };

    /// Sixteen octets that sort as the numbers do.
    #[must_use]
    pub fn to_octets(self) -> [u8; 16] {
        ((u128::from(self.boot) << 64) | u128::from(self.sequence)).to_be_bytes()
    }

    /// Reads the octets.
    #[must_use]
    pub fn from_octets(octets: [u8; 16]) -> Self {
        let whole = u128::from_be_bytes(octets);
        #[allow(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
        let (boot, sequence) = ((whole >> 64) as u64, whole as u64);
        Self { boot, sequence }
    }

    /// Reads `BOOT.COUNT`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (boot, sequence) = text.split_once('.')?;
        Some(Self { boot: boot.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.boot, self.sequence)
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'b> {
    /// Its number.
    pub number: Number,
    /// Whether the sender wants a signed receipt.
    pub receipt: bool,
    /// What is said.
    pub body: &'b [u8],
}

/// Octets before the messages of a batch: priority, round, previous number.
const HEAD_BYTES: usize = 1 + 4 + 16;
/// Octets before the body of a message: number, receipt, length.
const ITEM_BYTES: usize = 16 + 1 + 4;

/// A batch that arrived, looked through to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Of which stream.
    pub priority: Priority,
    /// Which attempt of the sender; the answer repeats it.
    pub round: u32,
    /// The number before the first, if that message is not settled yet; otherwise zero.
    pub prev: Number,
    /// The last number in it.
    pub last: Number,
    /// How many messages.
    pub count: u32,
    octets: Vec<u8>,
}

impl Batch {
    fn parse(payload: &[u8]) -> Option<Self> {
        let (priority, rest) = payload.split_first()?;
        let (round, rest) = rest.split_first_chunk::<4>()?;
        let (prev, items) = rest.split_first_chunk::<16>()?;
        let prev = Number::from_octets(*prev);
        let (mut last, mut count, mut left) = (prev, 0, items);
        while !left.is_empty() {
            let (item, rest) = split_item(left)?;
            if item.number <= last || item.number.boot == 0 || item.number.sequence == 0 {
                return None;
            }
            (last, count, left) = (item.number, count + 1, rest);
        }
        (count > 0)
            .then(|| Self {
                priority: Priority::from_octet(*priority).unwrap_or_default(),
                round: u32::from_be_bytes(*round),
                prev,
                last,
                count,
                octets: items.to_vec(),
            })
            .filter(|batch| batch.priority.octet() == *priority)
    }

    /// Its messages, in order.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let mut left = self.octets.as_slice();
        std::iter::from_fn(move || {
            let (item, rest) = split_item(left)?;
            left = rest;
            Some(item)
        })
    }

    /// Octets of its messages.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.octets.len()
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = head(self.priority, self.round, self.prev).to_vec();
        payload.extend_from_slice(&self.octets);
        payload
    }
}

fn head(priority: Priority, round: u32, prev: Number) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let round = round.to_be_bytes();
    let parts = [priority.octet()].into_iter().chain(round).chain(prev.to_octets());
    for (to, from) in head.iter_mut().zip(parts) {
        *to = from;
    }
    head
}

fn split_item(octets: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (number, rest) = octets.split_first_chunk::<16>()?;
    let (receipt, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if *receipt > 1 || length > MESSAGE_BYTES_MAX {
        return None;
    }
    let (body, rest) = rest.split_at_checked(length)?;
    Some((Item { number: Number::from_octets(*number), receipt: *receipt == 1, body }, rest))
}

/// Messages that follow one another in a stream, laid out as they will travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The frame, its head still blank.
    frame: Vec<u8>,
    /// How many messages.
    pub count: u32,
    /// The first number.
    pub first: Number,
    /// The last number.
    pub last: Number,
}

impl Default for Page {
    fn default() -> Self {
        let frame = vec![0; HEADER_BYTES + HEAD_BYTES];
        Self { frame, count: 0, first: Number::ZERO, last: Number::ZERO }
    }
}

impl Page {
    /// Adds a message; `false` if it does not fit any more, is too long or out of order.
    pub fn push(&mut self, item: &Item<'_>) -> bool {
        let whole = self.bytes() + ITEM_BYTES + item.body.len();
        let fits = self.count == 0 || whole <= BATCH_BYTES_MAX;
        if !fits || item.body.len() > MESSAGE_BYTES_MAX || item.number <= self.last {
            return false;
        }
        if self.count == 0 {
            self.first = item.number;
        }
        let length = u32::try_from(item.body.len()).unwrap_or(u32::MAX);
        self.frame.extend_from_slice(&item.number.to_octets());
        self.frame.push(u8::from(item.receipt));
        self.frame.extend_from_slice(&length.to_be_bytes());
        self.frame.extend_from_slice(item.body);
        self.last = item.number;
        self.count += 1;
        true
    }

    /// Octets of its messages.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.frame.len() - HEADER_BYTES - HEAD_BYTES
    }

    /// The frame of a batch.
    #[must_use]
    pub fn into_frame(mut self, priority: Priority, round: u32, prev: Number) -> Vec<u8> {
        let length = u32::try_from(self.frame.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
        let octets = length.into_iter().chain([Kind::Batch.octet()]);
        let octets = octets.chain(head(priority, round, prev));
        for (to, from) in self.frame.iter_mut().zip(octets) {
            *to = from;
        }
        self.frame
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is on the disk.
    Taken,
    /// Something before it is missing: send again from the number after `through`.
    Gap,
    /// It is not taken, and why; with `quota`, try again later.
    Refused(Code),
}

/// How far a stream was taken: everything up to a number is on the receiver's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Of which stream.
    pub priority: Priority,
    /// Which attempt it answers.
    pub round: u32,
    /// All up to here, this one included; zero if none.
    pub through: Number,
    /// And the batch that is answered.
    pub verdict: Verdict,
}

/// What is said about queued messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Post {
    /// Messages.
    Batch(Batch),
    /// How far they were taken.
    Taken(Taken),
    /// Send me the receipts of these again.
    Claims(Vec<Number>),
    /// A signed receipt.
    Receipt(Vec<u8>),
}

impl Post {
    /// Parses the payload of one of its kinds.
    #[must_use]
    pub(super) fn parse(kind: Kind, payload: &[u8]) -> Option<Self> {
        match kind {
            Kind::Batch => Batch::parse(payload).map(Self::Batch),
            Kind::Taken => taken(payload).map(Self::Taken),
            Kind::Claims => claims(payload).map(Self::Claims),
            Kind::SignedReceipt => {
                let fits = !payload.is_empty() && payload.len() <= STATEMENT_BYTES_MAX;
                fits.then(|| Self::Receipt(payload.to_vec()))
            }
            _ => None,
        }
    }

    /// The kind of frame it travels in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Batch(_) => Kind::Batch,
            Self::Taken(_) => Kind::Taken,
            Self::Claims(_) => Kind::Claims,
            Self::Receipt(_) => Kind::SignedReceipt,
        }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match self {
            Self::Batch(batch) => batch.payload(),
            Self::Receipt(bytes) => bytes.clone(),
            Self::Claims(list) => cbor(|e| e.encode(list)?.ok()),
            Self::Taken(taken) => cbor(|e| {
                e.array(4)?.encode(taken.priority)?.u32(taken.round)?.encode(taken.through)?;
                match taken.verdict {
                    Verdict::Taken => e.null()?.ok(),
                    Verdict::Gap => e.bool(true)?.ok(),
                    Verdict::Refused(code) => e.encode(code)?.ok(),
                }
            }),
        }
    }
}

fn taken(payload: &[u8]) -> Option<Taken> {
    let mut d = Decoder::new(payload);
    if d.array().ok()? != Some(4) {
        return None;
    }
    let (priority, round, through) = (d.decode().ok()?, d.u32().ok()?, d.decode().ok()?);
    let verdict = match d.datatype().ok()? {
        Type::Null => d.null().map(|()| Verdict::Taken).ok()?,
        Type::Bool => d.bool().ok().filter(|gap| *gap).map(|_| Verdict::Gap)?,
        _ => Verdict::Refused(d.decode().ok()?),
    };
    (d.position() == payload.len()).then_some(Taken { priority, round, through, verdict })
}

fn claims(payload: &[u8]) -> Option<Vec<Number>> {
    let mut d = Decoder::new(payload);
    let count = d.array().ok()?.and_then(|count| usize::try_from(count).ok())?;
    if !(1..=CLAIMS_MAX).contains(&count) {
        return None;
    }
    let list: Option<Vec<_>> = (0..count).map(|_| d.decode().ok()).collect();
    list.filter(|_| d.position() == payload.len())
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Frame, split};
    use super::*;

    fn number(sequence: u64) -> Number {
        Number { boot: 2, sequence }
    }

    fn page(numbers: &[u64]) -> Page {
        let mut page = Page::default();
        for sequence in numbers {
            let body = vec![7; usize::try_from(*sequence).unwrap()];
            let receipt = sequence % 2 == 0;
            assert!(page.push(&Item { number: number(*sequence), receipt, body: &body }));
        }
        page
    }

    fn parse(frame: &[u8]) -> Option<Batch> {
        let (frame, _) = split(frame).ok()??;
        match Body::parse(&frame) {
            Ok(Body::Post(Post::Batch(batch))) => Some(batch),
            _ => None,
        }
    }

    #[test]
    fn a_batch_survives_its_frame() {
        let frame = page(&[1, 2, 5]).into_frame(Priority::Low, 9, Number::ZERO);
        let batch = parse(&frame).unwrap();
        assert_eq!((batch.priority, batch.round, batch.count), (Priority::Low, 9, 3));
        assert_eq!((batch.prev, batch.last), (Number::ZERO, number(5)));
        let items: Vec<_> = batch.items().map(|i| (i.number, i.receipt, i.body.len())).collect();
        assert_eq!(items, [(number(1), false, 1), (number(2), true, 2), (number(5), false, 5)]);
        assert_eq!(Body::Post(Post::Batch(batch)).to_frame(), frame);
    }

    #[test]
    fn numbers_rise_or_the_batch_is_refused() {
        assert!(parse(&page(&[5]).into_frame(Priority::High, 1, number(4))).is_some());
        assert!(parse(&page(&[5]).into_frame(Priority::High, 1, number(5))).is_none());
        assert!(parse(&page(&[]).into_frame(Priority::High, 1, Number::ZERO)).is_none());
        let mut page = page(&[5]);
        assert!(!page.push(&Item { number: number(5), receipt: false, body: b"" }));
        for (at, octet) in [(5, 3), (5 + HEAD_BYTES + 16, 2), (5 + HEAD_BYTES + 17, 1)] {
            let mut frame = page.clone().into_frame(Priority::High, 1, Number::ZERO);
            frame[at] = octet;
            assert!(parse(&frame).is_none(), "octet {at}");
        }
    }

    #[test]
    fn a_batch_is_bounded_and_holds_the_longest_message() {
        let longest = vec![0; MESSAGE_BYTES_MAX];
        let mut page = Page::default();
        assert!(page.push(&Item { number: number(1), receipt: false, body: &longest }));
        assert!(!page.push(&Item { number: number(2), receipt: false, body: &[] }));
        assert!(parse(&page.into_frame(Priority::Normal, 1, Number::ZERO)).is_some());
        let longer = vec![0; MESSAGE_BYTES_MAX + 1];
        let item = Item { number: number(1), receipt: false, body: &longer };
        assert!(!Page::default().push(&item));
    }

    #[test]
    fn answers_survive_and_are_refused_when_cut() {
        let verdicts = [Verdict::Taken, Verdict::Gap, Verdict::Refused(Code::Quota)];
        let answers = verdicts.map(|verdict| {
            let (priority, round, through) = (Priority::Normal, 3, number(8));
            Post::Taken(Taken { priority, round, through, verdict })
        });
        let claims = Post::Claims(vec![number(1), number(2)]);
        for post in answers.into_iter().chain([claims]) {
            let (kind, payload) = (post.kind(), post.payload());
            assert_eq!(Post::parse(kind, &payload), Some(post));
            for cut in 0..payload.len() {
                assert_eq!(Post::parse(kind, &payload[..cut]), None);
            }
            let longer = [payload, vec![0]].concat();
            assert!(Body::parse(&Frame { kind, payload: &longer }).is_err());
        }
        let many = Post::Claims(vec![number(1); CLAIMS_MAX + 1]);
        assert_eq!(Post::parse(Kind::Claims, &many.payload()), None);
    }

    #[test]
    fn numbers_as_text_and_octets() {
        assert_eq!(Number::parse("2.17"), Some(number(17)));
        assert_eq!(Number::from_octets(number(17).to_octets()), number(17));
        assert_eq!(Number::parse("2"), None);
        assert!(number(u64::MAX) < Number { boot: 3, sequence: 1 });
    }
}
