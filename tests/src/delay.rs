//! A way for datagrams on which each direction takes its time: what a long line, or somebody who
//! holds packets back, does to whoever asks for the time.
//!
//! Each question gets a thread that waits, hands it on, and brings the answer back; it ends with
//! the answer, or when none came for a while.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest datagram that is carried.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// How long an answer is waited for, and how often it is looked whether this is over.
const LOOK: Duration = Duration::from_millis(200);
/// Questions on the way at once.
const QUESTIONS_MAX: usize = 32;

/// The way; it is closed with this value.
pub struct Delay {
    address: SocketAddr,
    socket: UdpSocket,
    over: Arc<AtomicBool>,
    door: Option<JoinHandle<()>>,
}

impl Delay {
    /// A place to ask at; nothing is carried yet.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let address = socket.local_addr().unwrap();
        Self { address, socket, over: Arc::default(), door: None }
    }

    /// Carries questions to a server in the first time, and answers back in the second.
    ///
    /// # Panics
    /// If the socket cannot be shared.
    #[must_use]
    pub fn to(mut self, server: SocketAddr, there: Duration, back: Duration) -> Self {
        let (socket, over) = (self.socket.try_clone().unwrap(), Arc::clone(&self.over));
        self.door = Some(std::thread::spawn(move || carry(&socket, server, [there, back], &over)));
        self
    }

    /// Where it is asked.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(door) = self.door.take() {
            let _ = door.join();
        }
    }
}

fn carry(socket: &UdpSocket, server: SocketAddr, times: [Duration; 2], over: &AtomicBool) {
    let (mut room, mut questions) = ([0; DATAGRAM_BYTES_MAX], Vec::new());
    while !over.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut room) else { continue };
        questions.retain(|question: &JoinHandle<()>| !question.is_finished());
        if questions.len() < QUESTIONS_MAX {
            let (question, back) = (room[..len].to_vec(), socket.try_clone().unwrap());
            questions.push(std::thread::spawn(move || {
                let _ = one(&question, from, &back, server, times);
            }));
        }
    }
    questions.into_iter().for_each(|question| drop(question.join()));
}

fn one(
    question: &[u8],
    from: SocketAddr,
    back: &UdpSocket,
    server: SocketAddr,
    [there, home]: [Duration; 2],
) -> std::io::Result<()> {
    let mut room = [0; DATAGRAM_BYTES_MAX];
    let on = UdpSocket::bind("127.0.0.1:0")?;
    on.set_read_timeout(Some(LOOK))?;
    on.connect(server)?;
    std::thread::sleep(there);
    on.send(question)?;
    let len = on.recv(&mut room)?;
    std::thread::sleep(home);
    back.send_to(&room[..len], from).map(drop)
}
