//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8, §3.10).

use super::error::{DecodeError, malformed, protocol};
use super::packet::{Options, Qos, RetainHandling, Subscribe, Unsubscribe, Version};
use super::properties::{self, Set, id};
use super::read::Body;
use super::reason::Reason;
use super::text;
use crate::limits::FILTERS_PER_PACKET_MAX;

const BEGIN: Set = Set::of(&[id::SUBSCRIPTION_ID, id::USER]);
const END: Set = Set::of(&[id::USER]);

pub(super) fn read(mut body: Body<'_>, version: Version) -> Result<Subscribe, DecodeError> {
    let mut subscribe = Subscribe { packet_id: body.packet_id()?, id: None, filters: Vec::new() };
    if version == Version::V5 {
        properties::read(&mut body, BEGIN, |_, value, _| {
            let twice = value.u32().is_some_and(|number| subscribe.id.replace(number).is_some());
            if twice { Err(protocol("two subscription identifiers")) } else { Ok(()) }
        })?;
    }
    while !body.is_empty() {
        let filter = filter(&mut body)?;
        let options = options(body.octet()?, version)?;
        if options.no_local && filter.starts_with("$share/") {
            return Err(protocol("no local on a shared subscription"));
        }
        check_count(subscribe.filters.len())?;
        subscribe.filters.push((filter.into(), options));
    }
    if subscribe.filters.is_empty() {
        return Err(protocol("a subscription to nothing"));
    }
    Ok(subscribe)
}

pub(super) fn read_end(mut body: Body<'_>, version: Version) -> Result<Unsubscribe, DecodeError> {
    let mut unsubscribe = Unsubscribe { packet_id: body.packet_id()?, filters: Vec::new() };
    if version == Version::V5 {
        properties::read(&mut body, END, |_, _, _| Ok(()))?;
    }
    while !body.is_empty() {
        check_count(unsubscribe.filters.len())?;
        unsubscribe.filters.push(filter(&mut body)?.into());
    }
    if unsubscribe.filters.is_empty() {
        return Err(protocol("no filter to unsubscribe from"));
    }
    Ok(unsubscribe)
}

/// Whether there may be one more.
const fn check_count(filters: usize) -> Result<(), DecodeError> {
    if filters < FILTERS_PER_PACKET_MAX {
        return Ok(());
    }
    Err(DecodeError::new(Reason::QuotaExceeded, "too many filters in one packet"))
}

fn filter<'b>(body: &mut Body<'b>) -> Result<&'b str, DecodeError> {
    let text = body.text()?;
    text::check_filter(text).map(|()| text)
}

/// Subscription Options (§3.8.3.1); before MQTT 5 nothing but the QoS.
fn options(bits: u8, version: Version) -> Result<Options, DecodeError> {
    let qos = Qos::from_bits(bits & 3).ok_or(malformed("the quality of service 3"))?;
    if version != Version::V5 {
        let plain = Options { qos, ..Options::default() };
        return if bits > 2 { Err(malformed("reserved bits")) } else { Ok(plain) };
    }
    let retain_handling = match bits >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        3 => return Err(protocol("the retain handling 3")),
        _ => return Err(malformed("reserved bits")),
    };
    let (no_local, retain_as_published) = (bits & 4 != 0, bits & 8 != 0);
    Ok(Options { qos, no_local, retain_as_published, retain_handling })
}
