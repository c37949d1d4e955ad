//! PUBACK to PUBCOMP, SUBACK and UNSUBACK (MQTT 5.0 §3.4 to §3.7, §3.9, §3.11).

use super::error::{DecodeError, protocol};
use super::packet::{Ack, SubAck, Version};
use super::properties::{self, Set, id};
use super::read::Body;
use super::reason::Reason;

/// Reason codes of PUBACK and PUBREC (§3.4.2.1), and of PUBREL and PUBCOMP (§3.6.2.1).
const ARRIVED: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASED: &[u8] = &[0x00, 0x92];
/// Of SUBACK (§3.9.3), before MQTT 5 (MQTT 3.1.1 §3.9.3), and of UNSUBACK (§3.11.3).
const GRANTED: &[u8] = &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
const GRANTED_BEFORE: &[u8] = &[0x00, 0x01, 0x02, 0x80];
const ENDED: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
/// What stands in all of them.
const WORDS: Set = Set::of(&[id::REASON_STRING, id::USER]);

/// One of the reason codes that a packet has.
pub(super) fn reason(body: &mut Body<'_>, allowed: &[u8]) -> Result<Reason, DecodeError> {
    let octet = body.octet()?;
    let known = Reason::from_octet(octet).filter(|_| allowed.contains(&octet));
    known.ok_or(protocol("a reason code that this packet does not have"))
}

/// PUBACK and PUBREC.
pub(super) fn arrived(body: Body<'_>, version: Version) -> Result<Ack, DecodeError> {
    ack(body, version, ARRIVED)
}

/// PUBREL and PUBCOMP.
pub(super) fn released(body: Body<'_>, version: Version) -> Result<Ack, DecodeError> {
    ack(body, version, RELEASED)
}

fn ack(mut body: Body<'_>, version: Version, allowed: &[u8]) -> Result<Ack, DecodeError> {
    let packet_id = body.packet_id()?;
    let mut ack = Ack { packet_id, reason: Reason::Success, reason_string: None };
    if version == Version::V5 && !body.is_empty() {
        ack.reason = reason(&mut body, allowed)?;
        if !body.is_empty() {
            properties::read(&mut body, WORDS, |_, value, _| {
                ack.reason_string = value.text().map(Into::into).or(ack.reason_string.take());
                Ok(())
            })?;
        }
    }
    body.end().map(|()| ack)
}

/// SUBACK.
pub(super) fn subscribed(mut body: Body<'_>, version: Version) -> Result<SubAck, DecodeError> {
    let mut ack = acked(&mut body, version)?;
    let allowed = if version == Version::V5 { GRANTED } else { GRANTED_BEFORE };
    reasons(body, &mut ack, allowed)?;
    Ok(ack)
}

/// UNSUBACK; before MQTT 5 it says no more than that it heard.
pub(super) fn unsubscribed(mut body: Body<'_>, version: Version) -> Result<SubAck, DecodeError> {
    let mut ack = acked(&mut body, version)?;
    match version {
        Version::V5 => reasons(body, &mut ack, ENDED)?,
        Version::V31 | Version::V311 => body.end()?,
    }
    Ok(ack)
}

fn acked(body: &mut Body<'_>, version: Version) -> Result<SubAck, DecodeError> {
    let packet_id = body.packet_id()?;
    if version == Version::V5 {
        properties::read(body, WORDS, |_, _, _| Ok(()))?;
    }
    Ok(SubAck { packet_id, reasons: Vec::new() })
}

fn reasons(mut body: Body<'_>, ack: &mut SubAck, allowed: &[u8]) -> Result<(), DecodeError> {
    while !body.is_empty() {
        ack.reasons.push(reason(&mut body, allowed)?);
    }
    if ack.reasons.is_empty() { Err(protocol("an answer for no filter")) } else { Ok(()) }
}
