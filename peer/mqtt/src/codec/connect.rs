//! CONNECT and CONNACK (MQTT 5.0 §3.1, §3.2).

use bytes::Bytes;
use bytestring::ByteString;

use super::error::{DecodeError, malformed, protocol};
use super::packet::{ConnAck, Connect, Granted, Qos, Version, Will};
use super::properties::{self, Set, id};
use super::publish::{Said, WILL};
use super::read::Body;
use super::reason::Reason;
use super::text;

pub(super) fn read(mut body: Body<'_>) -> Result<Connect, DecodeError> {
    let (version, bridge) = version(&mut body)?;
    let flags = Flags::parse(body.octet()?, version)?;
    let mut connect = Connect {
        version,
        bridge,
        clean_start: flags.clean,
        keep_alive_s: body.u16()?,
        session_expiry_s: if version == Version::V5 || flags.clean { 0 } else { u32::MAX },
        receive_max: u16::MAX,
        packet_bytes_max: None,
        alias_max: 0,
        wants_response_information: false,
        wants_problem_information: true,
        auth_method: None,
        client_id: ByteString::new(),
        will: None,
        username: None,
        has_password: flags.password,
    };
    if version == Version::V5 {
        connect_properties(&mut body, &mut connect)?;
    }
    connect.client_id = body.text()?.into();
    let anonymous = connect.client_id.is_empty();
    let needed = version == Version::V31 || (version == Version::V311 && !connect.clean_start);
    if anonymous && needed {
        let what = "no client identifier for a session that lasts";
        return Err(DecodeError::new(Reason::ClientIdentifierNotValid, what));
    }
    if let Some((qos, retain)) = flags.will {
        connect.will = Some(will(&mut body, version, qos, retain)?);
    }
    if version == Version::V31 && body.is_empty() {
        // There the length tells whether name and password follow, whatever the flags say (§3.1).
        return Ok(Connect { has_password: false, ..connect });
    }
    if flags.username {
        connect.username = Some(body.text()?.into());
    }
    if flags.password {
        body.binary()?;
    }
    body.end().map(|()| connect)
}

/// The version that a CONNECT begins with.
pub(super) fn said(mut body: Body<'_>) -> Option<Version> {
    version(&mut body).ok().map(|(version, _)| version)
}

/// The name and level of the protocol; in MQTT 3 a bridge sets the highest bit.
fn version(body: &mut Body<'_>) -> Result<(Version, bool), DecodeError> {
    let name = body.binary()?;
    let level = body.octet()?;
    match (name, level) {
        (b"MQIsdp", 3 | 0x83) => Ok((Version::V31, level > 3)),
        (b"MQTT", 4 | 0x84) => Ok((Version::V311, level > 4)),
        (b"MQTT", 5) => Ok((Version::V5, false)),
        (b"MQTT" | b"MQIsdp", _) => Err(unknown("a version of MQTT that is not spoken here")),
        _ => Err(unknown("a protocol that is not MQTT")),
    }
}

const fn unknown(what: &'static str) -> DecodeError {
    DecodeError::new(Reason::UnsupportedProtocolVersion, what)
}

struct Flags {
    clean: bool,
    will: Option<(Qos, bool)>,
    username: bool,
    password: bool,
}

impl Flags {
    fn parse(bits: u8, version: Version) -> Result<Self, DecodeError> {
        let is = |bit: u8| bits & bit != 0;
        // In MQTT 3.1 the lowest bit was not used, and not said to be 0.
        if is(1) && version != Version::V31 {
            return Err(malformed("the reserved connect flag"));
        }
        let qos = Qos::from_bits(bits >> 3 & 3).ok_or(malformed("a will's qos of 3"))?;
        let will = is(4).then_some((qos, is(0x20)));
        if will.is_none() && (qos != Qos::AtMostOnce || is(0x20)) {
            return Err(malformed("details of a will that is not there"));
        }
        let (username, password) = (is(0x80), is(0x40));
        if password && !username && version != Version::V5 {
            return Err(malformed("a password without a user name"));
        }
        Ok(Self { clean: is(2), will, username, password })
    }
}

const ASKED: Set = Set::of(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAX,
    id::PACKET_BYTES_MAX,
    id::ALIAS_MAX,
    id::WANTS_RESPONSE,
    id::WANTS_PROBLEM,
    id::USER,
    id::AUTH_METHOD,
    id::AUTH_DATA,
]);

fn connect_properties(body: &mut Body<'_>, connect: &mut Connect) -> Result<(), DecodeError> {
    let mut data = false;
    properties::read(body, ASKED, |id, value, _| {
        match id {
            id::SESSION_EXPIRY => connect.session_expiry_s = value.u32().unwrap_or_default(),
            id::RECEIVE_MAX => connect.receive_max = value.u16().unwrap_or(u16::MAX),
            id::PACKET_BYTES_MAX => connect.packet_bytes_max = value.u32(),
            id::ALIAS_MAX => connect.alias_max = value.u16().unwrap_or_default(),
            id::WANTS_RESPONSE => connect.wants_response_information = value.flag() == Some(true),
            id::WANTS_PROBLEM => connect.wants_problem_information = value.flag() != Some(false),
            id::AUTH_METHOD => connect.auth_method = value.text().map(Into::into),
            id::AUTH_DATA => data = true,
            _ => {}
        }
        Ok(())
    })?;
    if data && connect.auth_method.is_none() {
        return Err(protocol("authentication data without a method"));
    }
    Ok(())
}

fn will(
    body: &mut Body<'_>,
    version: Version,
    qos: Qos,
    retain: bool,
) -> Result<Will, DecodeError> {
    let mut said = Said::default();
    if version == Version::V5 {
        said.read(body, WILL)?;
    }
    let topic = body.text()?;
    text::check_topic(topic.as_bytes())?;
    let payload = body.binary()?;
    said.check_payload(payload)?;
    Ok(Will {
        qos,
        retain,
        delay_s: said.delay_s,
        expiry_s: said.expiry_s,
        topic: topic.into(),
        properties: said.kept.into_bytes(Bytes::copy_from_slice),
        payload: Bytes::copy_from_slice(payload),
    })
}

/// CONNACK reason codes (§3.2.2.2).
const CONNECTED: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];

pub(super) fn read_ack(mut body: Body<'_>, version: Version) -> Result<ConnAck, DecodeError> {
    let flags = body.octet()?;
    if flags > 1 && version != Version::V31 {
        return Err(malformed("reserved flags"));
    }
    let octet = body.octet()?;
    let reason = match version {
        Version::V5 => Reason::from_octet(octet).filter(|_| CONNECTED.contains(&octet)),
        Version::V31 | Version::V311 => Reason::of_return_code(octet),
    };
    let reason = reason.ok_or(protocol("a reason code that a CONNACK does not have"))?;
    // In MQTT 3.1 the first octet is reserved.
    let session_present = flags == 1 && version != Version::V31;
    if session_present && reason.is_error() {
        return Err(protocol("a session for one who is refused"));
    }
    let mut granted = Granted::default();
    if version == Version::V5 {
        granted_properties(&mut body, &mut granted)?;
    }
    body.end().map(|()| ConnAck { session_present, reason, granted })
}

const GRANTED: Set = Set::of(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAX,
    id::QOS_MAX,
    id::RETAIN_AVAILABLE,
    id::PACKET_BYTES_MAX,
    id::CLIENT_ID,
    id::ALIAS_MAX,
    id::REASON_STRING,
    id::USER,
    id::WILDCARDS_AVAILABLE,
    id::SUBSCRIPTION_IDS_AVAILABLE,
    id::SHARED_AVAILABLE,
    id::SERVER_KEEP_ALIVE,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::AUTH_METHOD,
    id::AUTH_DATA,
]);

fn granted_properties(body: &mut Body<'_>, granted: &mut Granted) -> Result<(), DecodeError> {
    properties::read(body, GRANTED, |id, value, _| {
        match id {
            id::SESSION_EXPIRY => granted.session_expiry_s = value.u32(),
            id::RECEIVE_MAX => granted.receive_max = value.u16(),
            id::QOS_MAX => {
                let one = value.flag() == Some(true);
                granted.qos_max = Some(if one { Qos::AtLeastOnce } else { Qos::AtMostOnce });
            }
            id::RETAIN_AVAILABLE => granted.no_retain = value.flag() == Some(false),
            id::WILDCARDS_AVAILABLE => granted.no_wildcards = value.flag() == Some(false),
            id::SHARED_AVAILABLE => granted.no_shared = value.flag() == Some(false),
            id::PACKET_BYTES_MAX => granted.packet_bytes_max = value.u32(),
            id::CLIENT_ID => granted.client_id = value.text().map(Into::into),
            id::ALIAS_MAX => granted.alias_max = value.u16(),
            id::REASON_STRING => granted.reason_string = value.text().map(Into::into),
            id::SERVER_KEEP_ALIVE => granted.keep_alive_s = value.u16(),
            id::RESPONSE_INFORMATION => {
                granted.response_information = value.text().map(Into::into);
            }
            _ => {}
        }
        Ok(())
    })
}
