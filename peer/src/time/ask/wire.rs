//! One question and its answer over UDP.
//!
//! Each question has a socket and so a port of its own, which whoever wants to forge an answer has
//! to guess (RFC 9109). Moments are read around the calls, nothing else happens between.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use nts::client::{Association, Heard, QUESTION_RANDOM_BYTES, Refused, Sample};
use nts::limits::DATAGRAM_BYTES_MAX;

use crate::limits::{TIME_ANSWER, TIME_DATAGRAMS_MAX};

/// Asks, and waits for the answer.
///
/// # Errors
/// Why there is none, for people.
pub(super) fn ask(association: &mut Association, to: SocketAddr) -> Result<Sample, String> {
    let random: [u8; QUESTION_RANDOM_BYTES] =
        host::random::bytes().map_err(|error| error.to_string())?;
    let socket = socket_to(to).map_err(|error| format!("{to}: {error}"))?;
    let mut room = [0; DATAGRAM_BYTES_MAX];
    let asked = association.ask(count(), &random, &mut room);
    let len = asked.map_err(|error| error.to_string())?;
    let question = room.get(..len).unwrap_or_default();
    let sent = count();
    socket.send(question).map_err(|error| format!("{to}: {error}"))?;
    association.sent(sent);
    hear(association, &socket, to)
}

fn hear(
    association: &mut Association,
    socket: &UdpSocket,
    to: SocketAddr,
) -> Result<Sample, String> {
    let until = Instant::now() + TIME_ANSWER;
    let mut room = [0; DATAGRAM_BYTES_MAX];
    let mut why = format!("{to} does not answer");
    for _ in 0..TIME_DATAGRAMS_MAX {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            break;
        }
        let received = socket.recv(&mut room);
        let at = count();
        let len = match received {
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(format!("{to}: {error}")),
        };
        match association.hear(room.get(..len).unwrap_or_default(), at) {
            Ok(Heard::Sample(sample)) => return Ok(sample),
            Ok(Heard::Kiss(kiss)) => return Err(format!("{to} says {kiss:?}")),
            // It was the answer, and tells no time.
            Err(error @ (Refused::Unsynchronised | Refused::TooFar | Refused::Stamps)) => {
                return Err(error.to_string());
            }
            Err(error) => why = format!("{to}: {error}"),
        }
    }
    Err(why)
}

fn socket_to(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket)
}

fn count() -> i64 {
    i64::try_from(host::clock::count_ns()).unwrap_or(i64::MAX)
}
