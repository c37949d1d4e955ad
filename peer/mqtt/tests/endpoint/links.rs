//! The link of two peers without a network.

use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use mqtt::{Client, Door, Heard, State, Uplink};
use shared::time::Timestamp;

use crate::rig::{Rig, identity};

/// The link of two peers, MQTT in both directions.
pub(crate) struct Link {
    pub(crate) ends: [(Client, Uplink, [BytesMut; 2]); 2],
    /// What is on its way: for each end what its client and its uplink are to read.
    pub(crate) frozen: bool,
}

impl Link {
    pub(crate) fn new(one: &Rig, other: &Rig, heard: [&Heard; 2]) -> Self {
        let end = |rig: &Rig, peer: &Rig, heard: &Heard| {
            let who = identity(peer.broker.node().as_str());
            let since = Some(Timestamp::from_s(1));
            let door = Door {
                identity: Arc::clone(&who),
                users: Arc::default(),
                since,
                peer: true,
                bridge: false,
            };
            let client = Client::new(Arc::clone(&rig.broker), door, rig.now);
            let uplink =
                Uplink::new(Arc::clone(&rig.broker), who, Timestamp::from_s(1), heard.clone());
            (client, uplink, [BytesMut::new(), BytesMut::new()])
        };
        let ends = [end(one, other, heard[0]), end(other, one, heard[1])];
        Self { ends, frozen: false }
    }

    /// Carries octets until nobody has anything to say; says whether anybody had.
    pub(crate) fn carry(&mut self, rigs: [&Rig; 2]) -> bool {
        let mut any = false;
        while !self.frozen {
            let mut moved = false;
            for (at, rig) in rigs.iter().enumerate() {
                let now = rig.now;
                let (client, uplink, [to_client, to_uplink]) = &mut self.ends[at];
                client.handle_bytes(to_client, now);
                uplink.handle_bytes(to_uplink, now);
                uplink.resume(to_uplink, Waker::noop(), now);
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                assert_eq!(client.fill(&mut ours, Waker::noop(), now), State::Open);
                assert_eq!(uplink.fill(&mut theirs, Waker::noop(), now), State::Open);
                moved |= !ours.is_empty() || !theirs.is_empty();
                let other = &mut self.ends[1 - at].2;
                other[1].extend_from_slice(&ours);
                other[0].extend_from_slice(&theirs);
            }
            any |= moved;
            if !moved {
                break;
            }
        }
        any
    }

    pub(crate) fn broken(self, rigs: [&Rig; 2]) {
        for ((mut client, mut uplink, _), rig) in self.ends.into_iter().zip(rigs) {
            client.handle_closed(rig.now);
            uplink.handle_closed();
        }
    }
}
