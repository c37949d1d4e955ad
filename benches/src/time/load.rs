//! Questions about the time, 64 under way, from thousands of addresses.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nts::client::{Association, Heard, Protection, QUESTION_RANDOM_BYTES};
use nts::limits::DATAGRAM_BYTES_MAX;

use super::keys::{address, exchange};
use super::server::Server;
use crate::harness::number;

/// Questions under way.
const WINDOW: usize = 64;
/// Addresses that ask in turn: a server may answer 64 questions of each at once, and 16 a second.
const ADDRESSES: usize = 4_096;
/// How long an answer is waited for before it is lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest run without any answer.
const STALLED: Duration = Duration::from_secs(10);

/// The load on one server.
pub(crate) struct Load<'a> {
    server: &'a Server,
    associations: Vec<Association>,
    sockets: Vec<UdpSocket>,
    next: usize,
}

impl<'a> Load<'a> {
    /// Gets keys for all.
    pub(crate) fn open(server: &'a Server) -> Result<Self> {
        let mut associations = Vec::new();
        let mut time = server.exchange;
        for number in 0..WINDOW {
            let (keys, grant) = exchange(server, address(number))?;
            time.set_port(grant.agreed.port.context("the port of the time is not told")?);
            let mut association = Association::new(Protection::Nts);
            association.keyed(keys, grant.cookies);
            associations.push(association);
        }
        let sockets = (0..ADDRESSES).map(|number| open(number, time)).collect::<Result<_>>()?;
        Ok(Self { server, associations, sockets, next: 0 })
    }

    /// Answers a second of the server's processor time.
    pub(crate) fn round(&mut self, count: usize) -> Result<f64> {
        let before = self.server.processor_s()?;
        let (mut answered, mut moved) = (0, Instant::now());
        while answered < count {
            let now = self.window()?;
            if now > 0 {
                moved = Instant::now();
            } else if moved.elapsed() > STALLED {
                bail!("no answer within {STALLED:?}, after {answered}");
            }
            answered += now;
        }
        Ok(number(answered) / (self.server.processor_s()? - before))
    }

    /// Asks once with each association, and counts the answers that stood.
    fn window(&mut self) -> Result<usize> {
        let (mut room, mut asked) = ([0; DATAGRAM_BYTES_MAX], Vec::with_capacity(WINDOW));
        for association in &mut self.associations {
            self.next = (self.next + 1) % self.sockets.len();
            let socket = self.sockets.get(self.next).context("no socket")?;
            let random: [u8; QUESTION_RANDOM_BYTES] = host::random::bytes()?;
            let length = association.ask(0, &random, &mut room)?;
            socket.send(room.get(..length).unwrap_or_default())?;
            asked.push((association, socket));
        }
        let mut answered = 0;
        for (association, socket) in asked {
            let Ok(length) = socket.recv(&mut room) else { continue };
            let heard = association.hear(room.get(..length).unwrap_or_default(), 0);
            answered += usize::from(matches!(heard, Ok(Heard::Sample(_))));
        }
        Ok(answered)
    }
}

fn open(number: usize, to: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((address(number), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    Ok(socket)
}
