//! The UDP socket: datagrams with the moment at which the kernel saw them, and answers from the
//! address that was asked.
//!
//! The kernel's stamp is taken when a datagram arrives, not when we come to read it: what it waited
//! in between is no error of the time then. A socket bound to all addresses would answer from
//! whichever the routes prefer, and the client throws such an answer away.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Octets for what the kernel says of a datagram: a stamp and an address need 88.
const CONTROL_BYTES: usize = 256;

/// A socket that is bound.
pub(super) struct Door {
    socket: UdpSocket,
    control: Vec<u8>,
}

/// A datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    /// Octets of it in the caller's room.
    pub(super) len: usize,
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
    Unknown,
}

impl Door {
    /// Binds it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        Ok(Self { socket: UdpSocket::from_std(socket)?, control: vec![0; CONTROL_BYTES] })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits until there is a datagram.
    ///
    /// # Errors
    /// What the system says.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes a datagram that is there.
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    pub(super) fn receive(&mut self, room: &mut [u8]) -> io::Result<Heard> {
        let Self { socket, control } = self;
        socket.try_io(Interest::READABLE, || {
            let (mut room, flags) = ([IoSliceMut::new(room)], MsgFlags::empty());
            let fd = socket.as_raw_fd();
            let message = recvmsg::<SockaddrStorage>(fd, &mut room, Some(control), flags)?;
            let from = message.address.as_ref().and_then(address_of);
            let from = from.ok_or(io::ErrorKind::InvalidData)?;
            let mut heard = Heard { len: message.bytes, from, at_ns: None, asked: Asked::Unknown };
            message.cmsgs()?.for_each(|said| heard.note(&said));
            Ok(heard)
        })
    }

    /// Answers; whatever does not leave at once is lost, as any datagram may be.
    pub(super) fn answer(&self, heard: &Heard, answer: &[u8]) -> io::Result<()> {
        let (to, answer) = (SockaddrStorage::from(heard.from), [IoSlice::new(answer)]);
        let said = match &heard.asked {
            Asked::V4(info) => Some(ControlMessage::Ipv4PacketInfo(info)),
            Asked::V6(info) => Some(ControlMessage::Ipv6PacketInfo(info)),
            Asked::Unknown => None,
        };
        self.socket.try_io(Interest::WRITABLE, || {
            let fd = self.socket.as_raw_fd();
            sendmsg(fd, &answer, said.as_slice(), MsgFlags::empty(), Some(&to))?;
            Ok(())
        })
    }
}

impl Heard {
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

    async fn echo(bound: &str, asked: &str) {
        let mut door = Door::bind(bound.parse().unwrap()).unwrap();
        let port = door.address().unwrap().port();
        let client = Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // A connected socket hears nobody but whom it asked.
        client.connect((asked, port)).unwrap();
        let before = host::clock::wall_ns();
        client.send(b"question").unwrap();
        let mut room = [0; 64];
        let heard = loop {
            door.readable().await.unwrap();
            match door.receive(&mut room) {
                Ok(heard) => break heard,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!((heard.len, heard.from.port()), (8, client.local_addr().unwrap().port()));
        assert!((before..=host::clock::wall_ns()).contains(&heard.at_ns.unwrap()));
        door.answer(&heard, b"answer").unwrap();
        assert_eq!(client.recv(&mut room).unwrap(), 6);
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        echo("127.0.0.1:0", "127.0.0.1").await;
        echo("0.0.0.0:0", "127.0.0.7").await;
        echo("[::]:0", "127.0.0.7").await;
    }
}
