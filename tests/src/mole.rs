//! A relay that reads what it carries: a real member with the role, whose owner is curious.
//!
//! It keeps every octet that it passes on inside its own TLS, and may do worse: change one, or
//! answer in the place of whoever was asked for.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use shared::name::NodeName;
use shared::wire::{ALPN_RELAY, Body, Circuit, Greeting, Receipt, Token};
use tls::Role;

use crate::adversary::Credentials;
use crate::raw::{Hearing, client_config, greeting, hear, server_config, take_body};

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// How long it waits for something that somebody owes it.
const PATIENCE: Duration = crate::SOON;
/// How long it listens to one connection before it looks at another.
const GLANCE: Duration = Duration::from_millis(5);

/// What it does with circuits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Carries them.
    Carry,
    /// Carries them, and changes one octet of each.
    Flip,
    /// Answers itself.
    Answer,
}

/// What went over one circuit.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    /// From the one who asked.
    pub asked: Vec<u8>,
    /// From the one who was called.
    pub called: Vec<u8>,
    /// How many octets were changed on the way.
    pub flipped: usize,
    /// Whether it has ended.
    pub over: bool,
}

/// The relay, listening until it is dropped.
pub struct Mole {
    address: String,
    desk: Arc<Desk>,
}

struct Desk {
    own: Credentials,
    greeting: Greeting,
    config: Arc<ServerConfig>,
    plan: Mutex<Plan>,
    links: Mutex<BTreeMap<String, Sender<Body>>>,
    presences: Mutex<BTreeMap<String, Vec<u8>>>,
    calls: Mutex<BTreeMap<Token, Sender<Stream>>>,
    tapes: Mutex<Vec<Tape>>,
    mail: Mutex<Vec<Vec<u8>>>,
    answered: Mutex<Vec<Hearing>>,
    stop: AtomicBool,
}

impl Mole {
    /// Listens on a free port as the member whose credentials these are.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn dig(own: Credentials) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let desk = Arc::new(Desk {
            greeting: greeting(&own, 1),
            config: server_config(&own),
            own,
            plan: Mutex::new(Plan::Carry),
            links: Mutex::default(),
            presences: Mutex::default(),
            calls: Mutex::default(),
            tapes: Mutex::default(),
            mail: Mutex::default(),
            answered: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&desk);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if shared.stop.load(Ordering::Relaxed) {
                    break;
                }
                let desk = Arc::clone(&shared);
                std::thread::spawn(move || desk.serve(socket));
            }
        });
        Self { address, desk }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Changes what it does with circuits, those that there are included.
    pub fn plan(&self, plan: Plan) {
        *self.desk.plan.lock().unwrap() = plan;
    }

    /// What went over its circuits so far.
    #[must_use]
    pub fn tapes(&self) -> Vec<Tape> {
        self.desk.tapes.lock().unwrap().clone()
    }

    /// The messages that were meant for itself.
    #[must_use]
    pub fn mail(&self) -> Vec<Vec<u8>> {
        self.desk.mail.lock().unwrap().clone()
    }

    /// What those heard and said whom it answered itself.
    #[must_use]
    pub fn answered(&self) -> Vec<Hearing> {
        self.desk.answered.lock().unwrap().clone()
    }

    /// Calls a node on its link, says that it is another who asks, and then asks itself: what the
    /// one who was called makes of it.
    ///
    /// # Panics
    /// If the call is not taken.
    #[must_use]
    pub fn pretend(&self, to: &str, from: &str) -> Hearing {
        let mut outer = self.desk.call(to, from).expect("the call is taken");
        outer.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        say(&mut outer, &ready());
        let name = ServerName::try_from("peer.mesh.example").unwrap();
        let config = client_config(Some(&self.desk.own));
        let connection = ClientConnection::new(config, name).unwrap();
        let mut inner = StreamOwned::new(connection, outer);
        let _ = inner.write_all(&Body::Hello(self.desk.greeting.clone()).to_frame());
        hear(&mut inner, Role::Dialler)
    }
}

impl Drop for Mole {
    fn drop(&mut self) {
        self.desk.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that listens, which then sees the flag.
        let _ = TcpStream::connect(&self.address);
    }
}

impl Desk {
    fn serve(&self, socket: TcpStream) {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let connection = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        let Some(who) = caller(&stream) else { return };
        if stream.conn.alpn_protocol() == Some(ALPN_RELAY) {
            self.serve_circuit(stream);
        } else {
            self.serve_link(stream, &who);
        }
    }

    fn serve_link(&self, mut stream: Stream, who: &str) {
        let (sender, receiver) = channel();
        stream.sock.set_read_timeout(Some(GLANCE)).unwrap();
        let mut buffer = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            match glance(&mut stream) {
                Glance::Nothing => {}
                Glance::Octets(octets) => buffer.extend(octets),
                Glance::End => break,
            }
            while let Some(body) = take_body(&mut buffer).unwrap() {
                self.heard(who, &sender, body);
            }
            for body in receiver.try_iter() {
                say(&mut stream, &body);
            }
        }
        self.links.lock().unwrap().remove(who);
    }

    fn heard(&self, who: &str, sender: &Sender<Body>, body: Body) {
        match body {
            Body::Hello(theirs) => {
                let _ = sender.send(Body::Welcome(self.greeting.clone()));
                for presence in self.presences.lock().unwrap().values() {
                    let _ = sender.send(Body::Presences(vec![presence.clone()], false));
                }
                self.links.lock().unwrap().insert(who.to_owned(), sender.clone());
                self.pass_on(who, theirs.presence);
            }
            Body::Presences(list, _) => {
                list.into_iter().for_each(|presence| self.pass_on(who, presence));
            }
            Body::Ping(nonce) => drop(sender.send(Body::Pong(nonce))),
            Body::Message(message) => {
                self.mail.lock().unwrap().push(message.body);
                let _ = sender.send(Body::Receipt(Receipt { id: message.id, refused: None }));
            }
            _ => {}
        }
    }

    /// Introduces its neighbours to each other, as any node does.
    fn pass_on(&self, who: &str, presence: Vec<u8>) {
        for (other, link) in self.links.lock().unwrap().iter().filter(|(other, _)| *other != who) {
            let _ = (other, link.send(Body::Presences(vec![presence.clone()], false)));
        }
        self.presences.lock().unwrap().insert(who.to_owned(), presence);
    }

    fn serve_circuit(&self, mut stream: Stream) {
        // Not held while the circuit lives.
        let answers = *self.plan.lock().unwrap() == Plan::Answer;
        match first_body(&mut stream) {
            Some(Body::Circuit(Circuit::Ask(_))) if answers => self.answer(stream),
            Some(Body::Circuit(Circuit::Ask(to))) => self.connect(stream, &to),
            Some(Body::Circuit(Circuit::Take(token))) => {
                if let Some(caller) = self.calls.lock().unwrap().remove(&token) {
                    let _ = caller.send(stream);
                }
            }
            _ => {}
        }
    }

    /// Is the other end itself.
    fn answer(&self, mut outer: Stream) {
        say(&mut outer, &ready());
        let connection = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let heard = hear(&mut StreamOwned::new(connection, outer), Role::Listener);
        self.answered.lock().unwrap().push(heard);
    }

    fn connect(&self, mut asker: Stream, to: &NodeName) {
        let Some(from) = caller(&asker) else { return };
        let Some(mut called) = self.call(to.as_str(), &from) else { return };
        say(&mut called, &ready());
        say(&mut asker, &ready());
        self.carry(&mut asker, &mut called);
    }

    /// Calls a node in somebody's name and waits until it comes.
    fn call(&self, to: &str, from: &str) -> Option<Stream> {
        let token = Token::new(host::random::bytes().unwrap());
        let (sender, taken): (_, Receiver<Stream>) = channel();
        self.calls.lock().unwrap().insert(token, sender);
        let call = Circuit::Call { token, from: NodeName::parse(from).unwrap() };
        let link = self.links.lock().unwrap().get(to)?.clone();
        let _ = link.send(Body::Circuit(call));
        taken.recv_timeout(PATIENCE).ok()
    }

    fn carry(&self, asker: &mut Stream, called: &mut Stream) {
        let tape = {
            let mut tapes = self.tapes.lock().unwrap();
            tapes.push(Tape::default());
            tapes.len() - 1
        };
        asker.sock.set_read_timeout(Some(GLANCE)).unwrap();
        called.sock.set_read_timeout(Some(GLANCE)).unwrap();
        let record = |octets: &mut Vec<u8>, side: fn(&mut Tape) -> &mut Vec<u8>| {
            let mut tapes = self.tapes.lock().unwrap();
            side(&mut tapes[tape]).extend_from_slice(octets);
            if *self.plan.lock().unwrap() == Plan::Flip && tapes[tape].flipped == 0 {
                tapes[tape].flipped = 1;
                *octets.last_mut().unwrap() ^= 1;
            }
        };
        let alive = || !self.stop.load(Ordering::Relaxed);
        while alive()
            && pass(asker, called, |octets| record(octets, |tape| &mut tape.asked))
            && pass(called, asker, |octets| record(octets, |tape| &mut tape.called))
        {}
        self.tapes.lock().unwrap()[tape].over = true;
    }
}

/// Moves what has come; whether there may be more.
fn pass(from: &mut Stream, to: &mut Stream, mut record: impl FnMut(&mut Vec<u8>)) -> bool {
    match glance(from) {
        Glance::Nothing => true,
        Glance::End => false,
        Glance::Octets(mut octets) => {
            record(&mut octets);
            to.write_all(&octets).and_then(|()| to.flush()).is_ok()
        }
    }
}

enum Glance {
    Nothing,
    Octets(Vec<u8>),
    End,
}

fn glance(stream: &mut impl Read) -> Glance {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk) {
        Ok(0) => Glance::End,
        Ok(length) => Glance::Octets(chunk[..length].to_vec()),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Glance::Nothing
        }
        Err(_) => Glance::End,
    }
}

fn first_body(stream: &mut Stream) -> Option<Body> {
    let mut buffer = Vec::new();
    loop {
        match glance(stream) {
            Glance::Octets(octets) => buffer.extend(octets),
            Glance::Nothing | Glance::End => return None,
        }
        if let Some(body) = take_body(&mut buffer).unwrap() {
            return Some(body);
        }
    }
}

fn say(stream: &mut Stream, body: &Body) {
    let _ = stream.write_all(&body.to_frame()).and_then(|()| stream.flush());
}

/// It sees nobody's port.
fn ready() -> Body {
    Body::Circuit(Circuit::Ready(SocketAddr::from(([127, 0, 0, 1], 1))))
}

/// Whose certificate was shown.
fn caller(stream: &Stream) -> Option<String> {
    let chain = stream.conn.peer_certificates()?;
    let facts = shared::cert::Facts::read(chain.first()?).ok()?;
    let (_, _, node) = shared::name::parse_spiffe(facts.uris.first()?)?;
    Some(node.to_string())
}
