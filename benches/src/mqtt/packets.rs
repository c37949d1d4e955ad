//! The few packets of MQTT 3.1.1 that a load generator needs, written by hand: it shares the cores
//! with what it loads, so it encodes once and afterwards only counts.
//!
//! **Invariant:** only whole packets are counted, and one that nobody asked for is an error.

use anyhow::{Result, bail};

/// Where messages go.
pub(crate) const TOPIC: &str = "plant/3/temp";
/// Asks whether all before it has been handled.
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
/// An orderly end.
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// How sure a message is to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    /// At most once.
    Zero = 0,
    /// At least once.
    One = 1,
}

/// Whether a session outlives its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Clean,
    Kept,
}

/// CONNECT without keep-alive.
pub(crate) fn connect(client: &str, session: Session) -> Vec<u8> {
    let clean = if session == Session::Clean { 0b10 } else { 0 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, clean, 0, 0];
    push_text(&mut body, client);
    framed(0x10, &body)
}

/// SUBSCRIBE to one filter.
pub(crate) fn subscribe(filter: &str, qos: Qos) -> Vec<u8> {
    let mut body = vec![0, 1];
    push_text(&mut body, filter);
    body.push(qos as u8);
    framed(0x82, &body)
}

/// PUBLISH to [`TOPIC`] with a payload of so many bytes; the identifier counts at QoS 1 only.
pub(crate) fn publish(qos: Qos, id: u16, bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes + 32);
    push_text(&mut body, TOPIC);
    if qos == Qos::One {
        body.extend(id.to_be_bytes());
    }
    body.resize(body.len() + bytes, b'm');
    framed(0x30 | (qos as u8) << 1, &body)
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // Names and topics here are a few bytes long.
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7F).unwrap_or(0x7F);
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
    out.extend(body);
    out
}

/// What stood in some bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Messages.
    pub(crate) messages: usize,
    /// Acknowledgements of ours.
    pub(crate) acks: usize,
    /// CONNACK, SUBACK and PINGRESP, all of them positive.
    pub(crate) answers: usize,
    /// Bytes of whole packets.
    pub(crate) consumed: usize,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.acks += more.acks;
        self.answers += more.answers;
        self.consumed += more.consumed;
    }
}

/// Counts the whole packets at the front of some bytes; writes the PUBACKs that they call for.
pub(crate) fn scan(mut bytes: &[u8], due: &mut Vec<u8>) -> Result<Seen> {
    let mut seen = Seen::default();
    while let Some((first, body, rest)) = packet(bytes)? {
        seen.consumed += bytes.len() - rest.len();
        bytes = rest;
        match first {
            0x30..=0x3F => {
                seen.messages += 1;
                acknowledge(first, body, due)?;
            }
            0x40 => seen.acks += 1,
            0x20 | 0x90 if body.get(1..).is_some_and(is_granted) => seen.answers += 1,
            0xD0 => seen.answers += 1,
            _ => bail!("a packet that begins with {first:#04x}: {:x?}", body.get(..8)),
        }
    }
    Ok(seen)
}

/// The return code of a CONNACK, or identifier and code of a SUBACK.
fn is_granted(rest: &[u8]) -> bool {
    rest.last().is_some_and(|code| *code < 0x80) && (rest.len() > 1 || rest == [0])
}

fn acknowledge(first: u8, body: &[u8], due: &mut Vec<u8>) -> Result<()> {
    if first & 0b110 == 0 {
        return Ok(());
    }
    let [high, low, rest @ ..] = body else { bail!("a message without a topic") };
    let topic = usize::from(u16::from_be_bytes([*high, *low]));
    let Some([high, low]) = rest.get(topic..topic + 2) else { bail!("no identifier") };
    due.extend([0x40, 2, *high, *low]);
    Ok(())
}

/// First octet, body, and what follows; nothing if it is not whole yet.
type Split<'a> = Option<(u8, &'a [u8], &'a [u8])>;

fn packet(bytes: &[u8]) -> Result<Split<'_>> {
    let Some((first, mut rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let Some((octet, more)) = rest.split_first() else { return Ok(None) };
        rest = more;
        length |= usize::from(octet & 0x7F) << shift;
        if octet & 0x80 == 0 {
            let split = rest.split_at_checked(length);
            return Ok(split.map(|(body, rest)| (*first, body, rest)));
        }
    }
    bail!("a length of more than four octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_counted_at_every_cut() {
        let mut bytes = publish(Qos::One, 7, 300);
        bytes.extend([0x40, 2, 0, 9]);
        bytes.extend(publish(Qos::Zero, 0, 64));
        for cut in 0..=bytes.len() {
            let mut due = Vec::new();
            let first = scan(&bytes[..cut], &mut due).unwrap();
            let mut both = first;
            both += scan(&bytes[first.consumed..], &mut due).unwrap();
            let all = Seen { messages: 2, acks: 1, answers: 0, consumed: bytes.len() };
            assert_eq!(both, all);
            assert_eq!(due, [0x40, 2, 0, 7]);
        }
    }

    #[test]
    fn a_refusal_is_no_answer() {
        let mut due = Vec::new();
        assert_eq!(scan(&[0x20, 2, 0, 0], &mut due).unwrap().answers, 1);
        assert_eq!(scan(&[0x90, 3, 0, 1, 1], &mut due).unwrap().answers, 1);
        assert!(scan(&[0x20, 2, 0, 5], &mut due).is_err());
        assert!(scan(&[0x90, 3, 0, 1, 0x80], &mut due).is_err());
        assert!(scan(&[0xE0, 0], &mut due).is_err());
        assert!(scan(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1], &mut due).is_err());
    }
}
