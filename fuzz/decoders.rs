//! Every decoder that meets bytes of a stranger, by the name of its fuzz target.
//!
//! One table for both: the fuzz targets call it with what the fuzzer finds, `tests/corpus.rs` with
//! the committed corpus. What decodes is encoded again where there is one encoding, because two
//! encodings of one thing are a way past a signature.

use std::hint::black_box;

use bytes::BytesMut;
use mqtt::codec as packets;
use nts::{Ring, records};
use shared::archive::Shelf;
use shared::cert::{CaCert, Facts, NodeCert, VerifiedCrl, request};
use shared::feed::{Entry, Part, Staging, read_file, write_file};
use shared::join::{
    Answer, Failure, Grant, JoinRequest, JoinString, RenewRequest, StringError, TimeThere,
};
use shared::link_state::LinkState;
use shared::policy::{Policy, SignedPolicy};
use shared::presence::SignedPresence;
use shared::receipt::Receipt;
use shared::shown::Shown;
use shared::statement::{Topic, Unverified};
use shared::time::Timestamp;
use shared::wire::{Body, Kind, Unproven, split};

mod hours;

/// A decoder under test: must return, whatever the bytes.
pub(crate) type Decoder = fn(&[u8]);

/// All of them.
pub(crate) const ALL: [(&str, Decoder); 20] = [
    ("cert", cert),
    ("csr", csr),
    ("crl", crl),
    ("statement", statement),
    ("feed_entry", feed_entry),
    ("feed_part", feed_part),
    ("feed_file", feed_file),
    ("frame", frame),
    ("link_state", link_state),
    ("presence", presence),
    ("archive", archive),
    ("policy", policy),
    ("receipt", receipt),
    ("shown", shown),
    ("spoken", spoken),
    ("join_string", join_string),
    ("join_asked", join_asked),
    ("join_answered", join_answered),
    ("mqtt", mqtt),
    ("nts", nts),
];

/// X.509 certificates, and with them the attributes extension.
pub(crate) fn cert(bytes: &[u8]) {
    if let Ok(facts) = Facts::read(bytes) {
        black_box(shared::cert::lint::check(&facts));
        black_box(NodeCert::from_facts(facts.clone()).is_ok());
        black_box(CaCert::from_facts(facts).is_ok());
    }
}

/// Certificate requests.
pub(crate) fn csr(bytes: &[u8]) {
    black_box(request::read(bytes).is_ok());
}

/// CRLs, under the issuer that the corpus was made with.
pub(crate) fn crl(bytes: &[u8]) {
    let issuer = CaCert::read(include_bytes!("issuer.der"));
    if let Ok(issuer) = issuer {
        black_box(VerifiedCrl::check(bytes, &issuer, Timestamp::from_s(1_800_000_000)).is_ok());
    }
}

/// COSE statements of every topic.
pub(crate) fn statement(bytes: &[u8]) {
    let members = [Topic::Presence, Topic::Broadcast, Topic::Receipt, Topic::Shown];
    let authority = [Topic::FeedHead, Topic::FeedSnapshot, Topic::Policy];
    for topic in members.into_iter().chain(authority) {
        if let Ok(statement) = Unverified::parse(topic, bytes) {
            black_box(statement.chain().len());
        }
    }
}

/// One entry of the feed.
pub(crate) fn feed_entry(bytes: &[u8]) {
    if let Some(entry) = Entry::from_bytes(bytes) {
        assert_eq!(entry.to_bytes(), bytes, "an entry has one encoding");
    }
}

/// A part of the feed as it travels, and what collects the parts.
pub(crate) fn feed_part(bytes: &[u8]) {
    if let Some(part) = Part::from_bytes(bytes) {
        black_box(Staging::default().take(part).is_ok());
    }
}

/// A feed file.
pub(crate) fn feed_file(bytes: &[u8]) {
    if let Some(update) = read_file(bytes) {
        assert_eq!(read_file(&write_file(update.clone())), Some(update));
    }
}

/// A stream of frames and their bodies.
pub(crate) fn frame(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((frame, used))) = split(rest) {
        if let Ok(body) = Body::parse(&frame) {
            black_box(body.to_frame());
        }
        if matches!(frame.kind, Kind::KeysAsk | Kind::Keys) {
            keys(frame.payload);
        }
        rest = rest.get(used..).unwrap_or_default();
    }
}

/// A link state, before it is believed.
pub(crate) fn link_state(bytes: &[u8]) {
    let _ = LinkState::peek(bytes);
}

/// A presence, before it is believed.
pub(crate) fn presence(bytes: &[u8]) {
    black_box(SignedPresence::peek(bytes));
}

/// A broadcast that others carry, before it is believed.
pub(crate) fn spoken(bytes: &[u8]) {
    if let Ok(unproven) = Unproven::parse(bytes) {
        black_box((unproven.origin(), unproven.instance(), unproven.number(), unproven.at()));
    }
}

/// A file of statements.
pub(crate) fn archive(bytes: &[u8]) {
    for shelf in [Shelf::Directory, Shelf::Evidence] {
        if let Some(list) = shelf.read(bytes, 256) {
            assert_eq!(shelf.write(&list), bytes, "a file has one encoding");
        }
    }
}

/// A policy: its statement, and what is signed in it.
pub(crate) fn policy(bytes: &[u8]) {
    black_box(SignedPolicy::peek(bytes));
    if let Ok(policy) = Policy::from_bytes(bytes) {
        black_box(policy.check().is_ok());
        assert_eq!(Policy::from_bytes(&policy.to_bytes()), Ok(policy));
    }
}

/// What a clock showed.
pub(crate) fn shown(bytes: &[u8]) {
    if let Some(shown) = Shown::from_bytes(bytes) {
        assert_eq!(shown.to_bytes(), bytes, "a time statement has one encoding");
        assert!(shown.contradiction(&shown).is_none(), "nobody contradicts itself by repeating");
    }
}

/// What is signed in a receipt.
pub(crate) fn receipt(bytes: &[u8]) {
    if let Some(receipt) = Receipt::from_bytes(bytes) {
        assert_eq!(Receipt::from_bytes(&receipt.to_bytes()), Some(receipt));
    }
}

/// A join string, as somebody types it; what is wrong with it has words.
pub(crate) fn join_string(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match JoinString::parse(&text) {
        Ok(string) => assert_eq!(JoinString::parse(&string.reveal()), Ok(string)),
        Err(error) => assert!(!black_box(StringError::hint(&error)).is_empty()),
    }
}

/// What the authority's door is asked, before anything is known of who asks.
pub(crate) fn join_asked(bytes: &[u8]) {
    if let Some(request) = JoinRequest::from_bytes(bytes) {
        black_box(request::read(&request.csr).is_ok());
        assert_eq!(JoinRequest::from_bytes(&request.to_bytes()), Some(request));
    }
    if let Some(request) = RenewRequest::from_bytes(bytes) {
        assert_eq!(RenewRequest::from_bytes(&request.to_bytes()), Some(request));
    }
}

/// What whoever answers there says.
pub(crate) fn join_answered(bytes: &[u8]) {
    if let Some(answer) = Answer::from_bytes(bytes) {
        black_box(Grant::from_bytes(&answer.grant));
        assert_eq!(Answer::from_bytes(&answer.to_bytes()), Some(answer));
    }
    if let Some(grant) = Grant::from_bytes(bytes) {
        assert_eq!(Grant::from_bytes(&grant.to_bytes()), Some(grant));
    }
    if let Some(failure) = Failure::from_bytes(bytes) {
        assert_eq!(Failure::from_bytes(&failure.to_bytes()), Some(failure));
    }
    black_box(TimeThere::from_bytes(bytes));
}

/// What a program says to an MQTT endpoint, and an endpoint to us: the same however it is cut, and
/// the same when it is written again.
pub(crate) fn mqtt(bytes: &[u8]) {
    said(bytes, packets::Decoder::server);
    for version in [packets::Version::V31, packets::Version::V311, packets::Version::V5] {
        said(bytes, || packets::Decoder::client(version));
    }
}

/// What is said while keys are exchanged, at the port for it or over a link.
fn keys(bytes: &[u8]) {
    let mut reader = records::Reader::default();
    if reader.take(bytes) == Ok(true) {
        if let Ok(request) = records::Request::read(&reader) {
            black_box(records::answer(&request, &records::Offer::default(), &[]));
        }
        black_box(records::Grant::read(&reader).is_ok());
    }
}

/// What arrives at the clock's two ports, and what comes back: read without harm, and refused.
pub(crate) fn nts(bytes: &[u8]) {
    keys(bytes);
    if let Ok(ring) = Ring::from_octets(bytes) {
        assert_eq!(&ring.to_octets()[..], bytes, "a ring has one encoding");
    }
    let verdict = hours::answered(bytes);
    assert!(verdict.len() <= bytes.len(), "an answer longer than its question");
    hours::heard(bytes);
}

/// Octets beyond this are read in one go only.
const SLOWLY_MAX: usize = 2048;

fn said(bytes: &[u8], decoder: impl Fn() -> packets::Decoder) {
    let mut reader = decoder();
    let (all, failed) = read(&mut reader, &mut BytesMut::from(bytes));
    if bytes.len() <= SLOWLY_MAX {
        let (mut slow, mut buffer) = (decoder(), BytesMut::new());
        let mut slowly = (Vec::new(), false);
        for octet in bytes {
            buffer.extend_from_slice(&[*octet]);
            let (more, failed) = read(&mut slow, &mut buffer);
            slowly.0.extend(more);
            slowly.1 = failed;
            if failed {
                break;
            }
        }
        assert_eq!((&all, failed), (&slowly.0, slowly.1));
    }
    let Some(version) = reader.version() else { return };
    let mut again = Vec::new();
    all.iter().for_each(|packet| packets::encode(packet, version, &mut again));
    let (read_again, _) = read(&mut decoder(), &mut BytesMut::from(&again[..]));
    assert_eq!(all, read_again);
}

fn read(decoder: &mut packets::Decoder, buffer: &mut BytesMut) -> (Vec<packets::Packet>, bool) {
    let mut all = Vec::new();
    loop {
        match decoder.decode(buffer) {
            Ok(Some(packet)) => all.push(packet),
            Ok(None) => return (all, false),
            Err(_) => return (all, true),
        }
    }
}
