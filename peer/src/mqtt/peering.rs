//! MQTT between two peers: over the frames of their link, twice, once in each direction.
//!
//! A frame's first octet says at whose endpoint its octets belong. Frames come straight from the
//! link's own task, so that a peer that says more than we take is held back by TCP; nothing here
//! waits for what goes out before it takes what comes in, so two peers cannot wait for each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mqtt::{Client, Door, Heard, Identity, Uplink};
use shared::name::NodeName;
use shared::verify::Member;
use shared::wire::{Kind, frame_into};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Endpoint;
use super::serve::serve;
use crate::limits::{MQTT_FRAME_BYTES, MQTT_PIPE_BYTES};
use crate::link::{Class, Queue};

/// At the endpoint of whoever receives the frame.
const AT_YOURS: u8 = 0;
/// At the endpoint of whoever sends it.
const AT_OURS: u8 = 1;

/// What is known of the peers that are, or were, linked.
#[derive(Default)]
pub(super) struct Peers(Mutex<BTreeMap<NodeName, Peer>>);

#[derive(Default)]
struct Peer {
    links: usize,
    heard: Heard,
}

/// MQTT on one link, for as long as the link lasts.
pub(crate) struct Peering {
    endpoint: Arc<Endpoint>,
    node: NodeName,
    tasks: Vec<JoinHandle<()>>,
}

impl Endpoint {
    /// Begins to speak with the peer at the other end of a link.
    pub(crate) fn join(
        self: &Arc<Self>,
        member: &Member,
        queue: Queue,
        frames: mpsc::Receiver<Bytes>,
    ) -> Peering {
        let node = member.node().clone();
        let heard = self.peers.linked(&node);
        self.tell_state(&node, "online");
        let name = Arc::new(node.clone());
        let attributes = member.cert.attributes.clone();
        let identity = Arc::new(Identity { name, attributes });
        let (broker, clock) = (Arc::clone(&self.broker), self.shared.clock.clone());
        let door = Door {
            identity: Arc::clone(&identity),
            users: Arc::default(),
            since: Some(member.cert.not_before),
            peer: true,
            bridge: false,
        };
        let client = Client::new(Arc::clone(&broker), door, clock.now());
        let uplink = Uplink::new(broker, identity, member.cert.not_before, heard);
        let (ours, below) = tokio::io::duplex(MQTT_PIPE_BYTES);
        let (theirs, beneath) = tokio::io::duplex(MQTT_PIPE_BYTES);
        let (read_ours, write_ours) = tokio::io::split(below);
        let (read_theirs, write_theirs) = tokio::io::split(beneath);
        let ours_by = clock.clone();
        let tasks = vec![
            tokio::spawn(async move { drop(serve(ours, client, ours_by).await) }),
            tokio::spawn(async move { drop(serve(theirs, uplink, clock).await) }),
            tokio::spawn(send(read_ours, AT_OURS, queue.clone())),
            tokio::spawn(send(read_theirs, AT_YOURS, queue)),
            tokio::spawn(receive(frames, write_ours, write_theirs)),
        ];
        Peering { endpoint: Arc::clone(self), node, tasks }
    }

    fn tell_state(&self, node: &NodeName, state: &str) {
        let now = self.shared.clock.now().wall;
        self.broker.tell(&format!("$mesh/peers/{node}/state"), state, now);
    }
}

impl Drop for Peering {
    fn drop(&mut self) {
        // The two that are served learn it from the ends of their pipes.
        for task in self.tasks.iter().skip(2) {
            task.abort();
        }
        if self.endpoint.peers.unlinked(&self.node) {
            self.endpoint.tell_state(&self.node, "offline");
        }
    }
}

impl Peers {
    fn linked(&self, node: &NodeName) -> Heard {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.entry(node.clone()).or_default();
        peer.links += 1;
        peer.heard.clone()
    }

    /// Whether that was the last link.
    fn unlinked(&self, node: &NodeName) -> bool {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.get_mut(node) else { return false };
        peer.links -= 1;
        peer.links == 0
    }
}

/// Puts what is said into frames; while the link has no room, nothing more is taken.
async fn send(mut from: ReadHalf<DuplexStream>, side: u8, queue: Queue) {
    let mut payload = vec![0; MQTT_FRAME_BYTES + 1];
    loop {
        let Some((first, rest)) = payload.split_first_mut() else { return };
        *first = side;
        let Ok(length @ 1..) = from.read(rest).await else { return };
        let mut frame = Vec::with_capacity(length + 6);
        let said = payload.get(..=length).unwrap_or_default();
        if frame_into(&mut frame, Kind::Topics, said).is_err()
            || queue.push_wait(Class::Message, Bytes::from(frame)).await.is_err()
        {
            return;
        }
    }
}

/// Takes what comes in frames to where it belongs.
async fn receive(
    mut frames: mpsc::Receiver<Bytes>,
    mut ours: WriteHalf<DuplexStream>,
    mut theirs: WriteHalf<DuplexStream>,
) {
    while let Some(frame) = frames.recv().await {
        let written = match frame.split_first() {
            Some((&AT_YOURS, octets)) => ours.write_all(octets).await,
            Some((&AT_OURS, octets)) => theirs.write_all(octets).await,
            _ => return,
        };
        if written.is_err() {
            return;
        }
    }
}
