//! One question and its answer over UDP.
//!
//! Each question has a socket and so a port of its own, which whoever wants to forge an answer has
//! to guess (RFC 9109). The question's moment is read just before it leaves, the answer's is the
//! kernel's: what we sleep longer on a busy machine is no error of the time then.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nts::client::{Association, Heard, QUESTION_RANDOM_BYTES, Refused, Sample};
use nts::limits::DATAGRAM_BYTES_MAX;

use crate::limits::{TIME_ANSWER, TIME_DATAGRAMS_MAX};

/// Octets for what the kernel says of a datagram: a stamp needs 32.
const CONTROL_BYTES: usize = 128;
/// How long a datagram may have waited for us, in ns: longer, and the system's clock was set.
const WAITED_NS_MAX: i64 = 1_000_000_000;

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
        let (len, at) = match receive(socket, &mut room) {
            Ok(received) => received,
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
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.connect(to)?;
    Ok(socket)
}

/// A datagram's length, and when it came by the machine's count.
fn receive(socket: &UdpSocket, room: &mut [u8]) -> std::io::Result<(usize, i64)> {
    let (mut room, mut control) = ([IoSliceMut::new(room)], [0; CONTROL_BYTES]);
    let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
    let message = recvmsg::<()>(fd, &mut room, Some(&mut control), flags)?;
    let (now, system) = (count(), host::clock::wall_ns());
    let stamped = message.cmsgs()?.find_map(|said| match said {
        ControlMessageOwned::ScmTimestampns(at) => {
            Some(at.tv_sec().saturating_mul(1_000_000_000).saturating_add(at.tv_nsec()))
        }
        _ => None,
    });
    // A system clock that was set in between has nothing to say about so short a time.
    let waited = stamped.map_or(0, |stamp| system.saturating_sub(stamp));
    let waited = if (0..=WAITED_NS_MAX).contains(&waited) { waited } else { 0 };
    Ok((message.bytes, now.saturating_sub(waited)))
}

fn count() -> i64 {
    i64::try_from(host::clock::count_ns()).unwrap_or(i64::MAX)
}
