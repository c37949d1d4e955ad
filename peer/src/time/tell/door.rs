//! The UDP socket: datagrams with the moment at which the kernel saw them, and answers from the
//! address that was asked.
//!
//! The kernel's stamp is taken when a datagram arrives, not when we come to read it: what it waited
//! in between is no error of the time then. A socket bound to all addresses would answer from
//! whichever the routes prefer, and the client throws such an answer away.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmsg, setsockopt, sockopt,
};
use nts::limits::DATAGRAM_BYTES_MAX;
#[cfg(target_os = "linux")]
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

use crate::limits::TIME_BATCH;

/// Octets for what the kernel says of a datagram: a stamp and an address need 88.
const CONTROL_BYTES: usize = 128;
/// One more than is read, so that a longer one shows.
const ROOM_BYTES: usize = DATAGRAM_BYTES_MAX + 1;

/// A socket that is bound.
pub(super) struct Door {
    socket: UdpSocket,
    rooms: Vec<u8>,
    heard: Vec<Heard>,
}

/// A datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    room: usize,
    len: usize,
    /// Whose.
    pub(super) from: SocketAddr,
    /// When the kernel saw it, by the system's clock, in ns since 1970.
    pub(super) at_ns: Option<i64>,
    asked: Asked,
}

/// The address that was asked.
#[derive(Debug, Clone, Copy)]
enum Asked {
    V4(in_pktinfo),
    V6(in6_pktinfo),
    /// The one the socket is bound to.
    Here,
}

impl Door {
    /// Binds it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        whole(&socket, address)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        match address {
            // All that comes came to this one, and answers leave from it.
            _ if !address.ip().is_unspecified() => {}
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        Ok(Self {
            socket,
            rooms: vec![0; TIME_BATCH * ROOM_BYTES],
            heard: Vec::with_capacity(TIME_BATCH),
        })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits until there is a datagram, which gives `true`, or until the other end of `end` is
    /// closed.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn wait(&self, end: &UnixStream) -> io::Result<bool> {
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut both = [watch(self.socket.as_fd()), watch(end.as_fd())];
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) => {
                let [_, end] = both;
                Ok(end.any() != Some(true))
            }
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the datagrams that are there, at most [`TIME_BATCH`].
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    pub(super) fn receive(&mut self) -> io::Result<()> {
        let Self { socket, rooms, heard } = self;
        heard.clear();
        let mut rooms = rooms.chunks_exact_mut(ROOM_BYTES);
        let mut slices: [_; TIME_BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        // Made anew: the kernel shortens the room for what it says to what it said last.
        let control = Some(Vec::with_capacity(CONTROL_BYTES));
        let mut all = MultiHeaders::<SockaddrStorage>::preallocate(TIME_BATCH, control);
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
        let messages = recvmmsg(fd, &mut all, slices.iter_mut(), flags, None)?;
        heard.extend(messages.enumerate().filter_map(|(room, said)| Heard::of(room, &said)));
        Ok(())
    }

    /// What was taken, and its octets.
    pub(super) fn heard(&self) -> impl Iterator<Item = (&Heard, &[u8])> {
        let octets = |heard: &Heard| self.rooms.get(heard.room * ROOM_BYTES..)?.get(..heard.len);
        self.heard.iter().map(move |heard| (heard, octets(heard).unwrap_or_default()))
    }

    /// Answers; whatever does not leave at once is lost, as any datagram may be.
    pub(super) fn answer(&self, heard: &Heard, answer: &[u8]) -> io::Result<()> {
        let said = match &heard.asked {
            Asked::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Asked::V6(info) => ControlMessage::Ipv6PacketInfo(info),
            // What needs no control message costs the kernel less.
            Asked::Here => return self.socket.send_to(answer, heard.from).map(drop),
        };
        let (to, answer) = (SockaddrStorage::from(heard.from), [IoSlice::new(answer)]);
        sendmsg(self.socket.as_raw_fd(), &answer, &[said], MsgFlags::empty(), Some(&to))?;
        Ok(())
    }
}

/// Answers leave whole or not at all, whatever an ICMP message says of the way: what is put
/// together of fragments can be forged from beside it (Malhotra et al. 2016, RFC 8900).
#[cfg(target_os = "linux")]
fn whole(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?;
    }
    // Also where a socket for both is asked by IPv4.
    Ok(set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?)
}

/// There is no such call that is the same everywhere.
#[cfg(not(target_os = "linux"))]
fn whole(_: &UdpSocket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

impl Heard {
    fn of(room: usize, message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Self> {
        let from = message.address.as_ref().and_then(address_of)?;
        let mut heard = Self { room, len: message.bytes, from, at_ns: None, asked: Asked::Here };
        message.cmsgs().ok()?.for_each(|said| heard.note(&said));
        Some(heard)
    }

    fn note(&mut self, said: &ControlMessageOwned) {
        match said {
            ControlMessageOwned::ScmTimestampns(at) => {
                self.at_ns = at.tv_sec().checked_mul(1_000_000_000);
                self.at_ns = self.at_ns.and_then(|ns| ns.checked_add(at.tv_nsec()));
            }
            // The way back is the routes' affair; only the address is kept.
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                self.asked = Asked::V4(in_pktinfo { ipi_ifindex: 0, ..*info });
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => self.asked = Asked::V6(*info),
            _ => {}
        }
    }
}

fn address_of(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket as Plain};
    use std::time::Duration;

    use super::*;

    fn echo(bound: &str, asked: &str) {
        let mut door = Door::bind(bound.parse().unwrap()).unwrap();
        let port = door.address().unwrap().port();
        let client = Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // A connected socket hears nobody but whom it asked.
        client.connect((asked, port)).unwrap();
        let (end, _open) = UnixStream::pair().unwrap();
        let before = host::clock::wall_ns();
        client.send(b"question").unwrap();
        let (heard, octets) = loop {
            assert!(door.wait(&end).unwrap());
            match door.receive() {
                Ok(()) => break door.heard().next().unwrap(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!(octets, b"question");
        assert_eq!(heard.from.port(), client.local_addr().unwrap().port());
        assert!((before..=host::clock::wall_ns()).contains(&heard.at_ns.unwrap()));
        door.answer(heard, b"answer").unwrap();
        assert_eq!(client.recv(&mut [0; 64]).unwrap(), 6);
    }

    #[test]
    fn no_answer_is_sent_in_fragments() {
        use rustix::net::sockopt::{ip_mtu_discover, ipv6_mtu_discover};
        let four = Door::bind("127.0.0.1:0".parse().unwrap()).unwrap().socket;
        assert_eq!(ip_mtu_discover(&four).unwrap(), Ipv4PathMtuDiscovery::PROBE);
        let both = Door::bind("[::]:0".parse().unwrap()).unwrap().socket;
        assert_eq!(ipv6_mtu_discover(&both).unwrap(), Ipv6PathMtuDiscovery::PROBE);
        assert_eq!(ip_mtu_discover(&both).unwrap(), Ipv4PathMtuDiscovery::PROBE);
    }

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        echo("127.0.0.1:0", "127.0.0.1");
        echo("0.0.0.0:0", "127.0.0.7");
        echo("[::]:0", "127.0.0.7");
    }

    #[test]
    fn each_of_many_is_told_apart_and_a_longer_one_shows() {
        let mut door = Door::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.connect(door.address().unwrap()).unwrap();
        let lengths: Vec<usize> = (0..3 * TIME_BATCH).map(|n| n * 7 % 90).collect();
        for (n, length) in lengths.iter().enumerate() {
            client.send(&vec![u8::try_from(n).unwrap(); *length]).unwrap();
        }
        client.send(&[9; 2 * ROOM_BYTES]).unwrap();
        let (end, open) = UnixStream::pair().unwrap();
        let mut all = Vec::new();
        while all.len() <= lengths.len() {
            assert!(door.wait(&end).unwrap());
            if door.receive().is_ok() {
                assert!(door.heard().count() <= TIME_BATCH);
                assert!(door.heard().all(|(heard, _)| heard.at_ns.is_some()));
                all.extend(door.heard().map(|(_, octets)| octets.to_vec()));
            }
        }
        assert_eq!(all.pop().unwrap().len(), ROOM_BYTES, "longer than is read");
        for (n, (octets, length)) in all.iter().zip(&lengths).enumerate() {
            assert_eq!(*octets, vec![u8::try_from(n).unwrap(); *length]);
        }
        assert_eq!(door.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(door.heard().count(), 0);
        drop(open);
        assert!(!door.wait(&end).unwrap(), "it ends");
    }
}
