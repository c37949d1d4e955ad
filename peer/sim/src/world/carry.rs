//! Octets on wires: written in batches as the daemon does, arriving in order, refused if bad.

use peer_core::{By, Ended, LinkId, Way};
use shared::refusal::Code;
use shared::wire::{Body, HEADER_BYTES, Kind, split};

use super::{Happening, World};
use crate::host::name;
use crate::wires::{RECORD_OVERHEAD, SEGMENT_OVERHEAD, segments};

impl World {
    /// Puts a frame to those that are written at the end of this moment.
    pub(super) fn batch(&mut self, index: usize, link: LinkId, frame: &[u8]) {
        let kind = frame.get(HEADER_BYTES - 1).copied().unwrap_or_default();
        let count = self.traffic.entry(kind).or_default();
        *count = (count.0 + 1, count.1 + frame.len() as u64);
        let host = &mut self.hosts[index];
        host.sent.frames += 1;
        if matches!(Kind::from_octet(kind), Some(Kind::Feed | Kind::FeedWant | Kind::FeedAck)) {
            host.sent.feed_frames += 1;
            host.sent.feed_bytes += frame.len() as u64;
        }
        host.batch.entry(link).or_default().extend_from_slice(frame);
    }

    pub(super) fn ping(&mut self, index: usize, link: LinkId, nonce: u64) {
        self.batch(index, link, &Body::Ping(nonce).to_frame());
    }

    /// Writes what has gathered, a record a link.
    pub(super) fn write(&mut self, index: usize) {
        for (link, octets) in std::mem::take(&mut self.hosts[index].batch) {
            self.write_one(index, link, octets);
        }
    }

    fn write_one(&mut self, index: usize, link: LinkId, octets: Vec<u8>) {
        let overhead = RECORD_OVERHEAD + segments(octets.len()) * SEGMENT_OVERHEAD;
        self.hosts[index].sent.bytes += (octets.len() + overhead) as u64;
        let delay = self.weather.delay(octets.len(), &mut self.random);
        let Some(wire) = self.wires.get(link) else { return };
        let now_ms = self.now_ms();
        let Some(at) = self.wires.arrival(link, now_ms, delay) else { return };
        self.queue.put(at, Happening::Octets { to: wire.far, from: link, octets });
    }

    /// A host ends a link by its will.
    pub(super) fn end(&mut self, index: usize, link: LinkId, way: Way) {
        let waiting = self.hosts[index].batch.remove(&link);
        if let (Way::Close, Some(octets)) = (way, waiting) {
            self.write_one(index, link, octets);
        }
        let detail = "the other side closed it".to_owned();
        self.hang_up(link, Ended { refused: None, detail });
    }

    /// An end goes away; the other hears of it after what was sent before.
    pub(super) fn hang_up(&mut self, link: LinkId, ended: Ended) {
        let (now_ms, delay) = (self.now_ms(), self.weather.delay(0, &mut self.random));
        let arrival = self.wires.arrival(link, now_ms, delay);
        let Some(wire) = self.wires.cut(link) else { return };
        self.watch(wire.far_host);
        let at = arrival.unwrap_or(now_ms);
        self.queue.put(at, Happening::Lost { at: wire.far, ended });
    }

    fn watch(&mut self, far_host: usize) {
        let now_ms = self.now_ms();
        if let Some((_, last)) = self.watched.as_mut().filter(|(host, _)| *host == far_host) {
            *last = now_ms;
        }
    }

    pub(super) fn lose(&mut self, at: LinkId, ended: Ended) {
        let Some(wire) = self.wires.get(at) else { return };
        if !self.reachable(wire.host, wire.far_host) {
            // A reset is sent once; who does not hear it finds out by silence.
            return;
        }
        self.wires.cut(at);
        self.watch(wire.far_host);
        if let Some((code, By::Them)) = ended.refused {
            self.hosts[wire.host].refused_by.push((name(wire.far_host), code));
        }
        let now = self.now_at(wire.host);
        self.hosts[wire.host].node.handle_ended(at, ended, now);
        self.settle(wire.host);
    }

    pub(super) fn arrive(&mut self, to: LinkId, from: LinkId, octets: Vec<u8>) {
        let Some(wire) = self.wires.get(to) else { return self.reset(from) };
        if !self.reachable(wire.host, wire.far_host) {
            return self.held.push(Happening::Octets { to, from, octets });
        }
        let index = wire.host;
        let mut rest = octets.as_slice();
        while !rest.is_empty() && self.wires.get(to).is_some() {
            rest = self.take_frame(index, to, rest);
        }
        self.settle(index);
    }

    /// Takes one frame off and hands it in; gives what is left.
    fn take_frame<'o>(&mut self, index: usize, to: LinkId, octets: &'o [u8]) -> &'o [u8] {
        let Ok(Some((frame, whole))) = split(octets) else {
            self.malformed(index, to);
            return &[];
        };
        let now = self.now_at(index);
        match Body::parse(&frame) {
            Ok(Body::Refused(code)) => {
                let detail = format!("the other side refused: {code}");
                self.lose(to, Ended { refused: Some((code, By::Them)), detail });
            }
            Ok(body) => {
                if let Err(refusal) = self.hosts[index].node.handle_body(to, body, now) {
                    self.refuse(index, to, refusal.code);
                }
            }
            Err(_) => self.malformed(index, to),
        }
        octets.get(whole..).unwrap_or_default()
    }

    /// What the link cannot read, its node never sees.
    fn malformed(&mut self, index: usize, link: LinkId) {
        let (code, now) = (Code::Malformed, self.now_at(index));
        let Some(wire) = self.wires.get(link) else { return };
        self.hosts[index].refused.push((name(wire.far_host), code));
        let ended = Ended { refused: Some((code, By::Us)), detail: format!("refused: {code}") };
        self.hosts[index].node.handle_ended(link, ended, now);
        self.refuse(index, link, code);
    }

    /// Says why, and closes; the node has forgotten the link already.
    fn refuse(&mut self, index: usize, link: LinkId, code: Code) {
        self.hosts[index].batch.remove(&link);
        let detail = format!("the other side refused: {code}");
        self.hang_up(link, Ended { refused: Some((code, By::Them)), detail });
    }

    /// Somebody sends to an end that is gone.
    fn reset(&mut self, from: LinkId) {
        let Some(wire) = self.wires.get(from) else { return };
        if self.reachable(wire.host, wire.far_host) {
            let at = self.now_ms() + self.weather.one_way_ms;
            let ended = Ended { refused: None, detail: "connection reset".to_owned() };
            self.queue.put(at, Happening::Lost { at: from, ended });
        }
    }
}
