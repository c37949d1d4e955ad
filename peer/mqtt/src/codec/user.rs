//! User properties (MQTT 5.0 §3.3.2.3.7) among those of a message that are passed on as they are.

use super::properties;
use super::publish::PUBLISH;
use super::read::Body;

/// Gives name and value of each to `take`, in their order; says how many properties there are of
/// any kind. What is passed on was checked when it was read.
pub fn user_properties<'p>(properties: &'p [u8], mut take: impl FnMut(&'p str, &'p str)) -> usize {
    let mut count = 0;
    let walked = properties::walk(Body::new(properties), PUBLISH, |id, _, at| {
        count += 1;
        if id == properties::id::USER {
            let mut pair = Body::new(properties.get(at.start + 1..at.end).unwrap_or_default());
            take(pair.text()?, pair.text()?);
        }
        Ok(())
    });
    debug_assert!(walked.is_ok(), "what is passed on was checked");
    count
}

/// Appends one to encoded properties; each part has at most 65,535 octets.
pub fn push_user_property(properties: &mut Vec<u8>, name: &str, value: &str) {
    properties.push(properties::id::USER);
    for part in [name, value] {
        let length = u16::try_from(part.len()).unwrap_or_default();
        properties.extend_from_slice(&length.to_be_bytes());
        properties.extend_from_slice(part.as_bytes().get(..length.into()).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_among_others_and_appended_behind_them() {
        // Content type `t`, a pair, correlation data of two octets.
        let mut properties = b"\x03\0\x01t\x26\0\x01a\0\x01b\x09\0\x02xy".to_vec();
        push_user_property(&mut properties, "c", "");
        let mut pairs = Vec::new();
        assert_eq!(user_properties(&properties, |name, value| pairs.push((name, value))), 4);
        assert_eq!(pairs, [("a", "b"), ("c", "")]);
        assert_eq!(user_properties(b"", |_, _| panic!("there is none")), 0);
    }
}
