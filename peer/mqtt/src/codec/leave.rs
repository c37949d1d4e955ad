//! DISCONNECT and AUTH (MQTT 5.0 §3.14, §3.15).

use super::acks::reason;
use super::error::{DecodeError, protocol};
use super::head::Side;
use super::packet::{Auth, Disconnect, Version};
use super::properties::{self, Set, id};
use super::read::Body;
use super::reason::Reason;

/// Reason codes of DISCONNECT from a client, and from a server (§3.14.2.1).
const LEAVE: &[u8] =
    &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
const DISMISS: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
/// A server does not change how long a session lasts (§3.14.2.2.2), a client does not move anybody.
const LEAVE_SAYS: Set = Set::of(&[id::REASON_STRING, id::USER, id::SESSION_EXPIRY]);
const DISMISS_SAYS: Set = Set::of(&[id::REASON_STRING, id::USER, id::SERVER_REFERENCE]);

/// Of AUTH from a client, and from a server (§3.15.2.1).
const AUTH: &[u8] = &[0x18, 0x19];
const AUTHED: &[u8] = &[0x00, 0x18];
const AUTH_SAYS: Set = Set::of(&[id::AUTH_METHOD, id::AUTH_DATA, id::REASON_STRING, id::USER]);

pub(super) fn read(
    mut body: Body<'_>,
    version: Version,
    side: Side,
) -> Result<Disconnect, DecodeError> {
    let mut disconnect = Disconnect {
        reason: Reason::Success,
        session_expiry_s: None,
        reason_string: None,
        server_reference: None,
    };
    if version == Version::V5 && !body.is_empty() {
        let (codes, says) = match side {
            Side::Server => (LEAVE, LEAVE_SAYS),
            Side::Client => (DISMISS, DISMISS_SAYS),
        };
        disconnect.reason = reason(&mut body, codes)?;
        if !body.is_empty() {
            properties::read(&mut body, says, |id, value, _| {
                match id {
                    id::SESSION_EXPIRY => disconnect.session_expiry_s = value.u32(),
                    id::REASON_STRING => disconnect.reason_string = value.text().map(Into::into),
                    id::SERVER_REFERENCE => {
                        disconnect.server_reference = value.text().map(Into::into);
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
    }
    body.end().map(|()| disconnect)
}

/// AUTH; only the one that says nothing but success is without a method (§3.15.2).
pub(super) fn read_auth(mut body: Body<'_>, side: Side) -> Result<Auth, DecodeError> {
    let mut auth = Auth { reason: Reason::Success, method: None };
    let codes = if side == Side::Server { AUTH } else { AUTHED };
    if body.is_empty() && side == Side::Client {
        return Ok(auth);
    }
    auth.reason = if body.is_empty() { auth.reason } else { reason(&mut body, codes)? };
    if !body.is_empty() {
        properties::read(&mut body, AUTH_SAYS, |id, value, _| {
            if id == id::AUTH_METHOD {
                auth.method = value.text().map(Into::into);
            }
            Ok(())
        })?;
    }
    body.end()?;
    if auth.method.is_none() { Err(protocol("AUTH without a method")) } else { Ok(auth) }
}
