//! Sessions: opened, taken up again, left, ended (MQTT 5.0 §4.1).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytestring::ByteString;
use shared::name::NodeName;
use shared::time::Timestamp;

use super::subscriptions::place_of;
use super::{Broker, PEER_CLIENT, Sessions};
use crate::codec::{Connect, Reason};
use crate::identity::Identity;
use crate::journal::{Change, Table, key};
use crate::limits::{
    ALIAS_MAX, PACKET_BYTES_MAX, PEER_EXPIRY_S, PEER_QUEUE_BYTES, SESSION_EXPIRY_MAX_S, WINDOW_MAX,
};
use crate::message::Message;
use crate::receipt::Hold;
use crate::rows::SessionRow;
use crate::session::{Aliases, Inside, Kind, Online, Owner, Session};

/// A session with its new connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) connection: u64,
    pub(crate) present: bool,
    pub(crate) expiry_s: u32,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// With DISCONNECT: no will.
    Said,
    /// In any other way.
    Broken,
}

impl Broker {
    /// Opens a session for a client, or takes up the one there is; another connection that has it
    /// ends (§3.1.4).
    pub(crate) fn open(
        &self,
        identity: &Arc<Identity>,
        connect: &Connect,
        kind: Kind,
        now: Timestamp,
    ) -> Result<Opened, Reason> {
        let mut sessions = self.sessions();
        sessions.last_connection += 1;
        let connection = sessions.last_connection;
        let owner = self.owner(&sessions, identity, connect);
        let existing = sessions.by_owner.get(&owner).cloned();
        if existing.is_none() && sessions.by_id.len() >= self.settings.bounds.sessions {
            return Err(Reason::QuotaExceeded);
        }
        let mut will = None;
        // One that was to end with its connection ends with it now.
        let ends = |session: &Arc<Session>| session.lock().expiry_s == 0;
        let clean = connect.clean_start || existing.as_ref().is_some_and(ends);
        if let Some(session) = &existing {
            let due = self.take_over(&mut sessions, session, clean);
            will = due.map(|will| (Arc::clone(session), will));
        }
        let kept = existing.filter(|_| !clean);
        let present = kept.is_some();
        let session = kept.unwrap_or_else(|| sessions.make(owner, kind));
        let expiry_s = connect.session_expiry_s.min(SESSION_EXPIRY_MAX_S);
        let own = connect.will.as_ref().map(|will| Message {
            topic: will.topic.clone(),
            properties: will.properties.clone(),
            payload: will.payload.clone(),
            qos: will.qos,
            retain: will.retain,
            // It begins to age when it is published (§3.1.3.2.4).
            expires: will.expiry_s.map(|s| Timestamp::from_s(i64::from(s))),
            by: Arc::clone(&identity.name),
            // The session whose it is is named when it is published.
            from: None,
            client: None,
        });
        let unjudged = {
            let mut inside = session.lock();
            let before = inside.identity.replace(Arc::clone(identity));
            inside.will = own.map(|message| (will_delay(connect), message.to_kept()));
            if let Some((delay_s, will)) = &inside.will {
                self.save_will(&session, &inside, will, *delay_s, None);
            }
            inside.online = Some(online(connection, connect, kind));
            inside.queue.rewind();
            inside.expiry_s = expiry_s;
            inside.bytes_max = self.queue_bytes(kind);
            inside.left = None;
            inside.since = now;
            self.save(&session, &mut inside);
            present && before.is_none()
        };
        drop(sessions);
        if unjudged {
            self.judge_waiting(&session, identity);
        }
        if kind == Kind::Peer {
            self.peer_linked(&identity.name);
        }
        if let Some((session, will)) = will {
            self.publish_will(&session, &will, now);
        }
        Ok(Opened { session, connection, present, expiry_s })
    }

    /// A session for a peer that never had a connection here, as if it had left when it was heard
    /// of last.
    pub(super) fn keep_session(&self, node: &NodeName, heard: Timestamp) -> Option<Arc<Session>> {
        let mut sessions = self.sessions();
        if sessions.by_id.len() >= self.settings.bounds.sessions {
            return None;
        }
        let client = ByteString::from_static(PEER_CLIENT);
        let session = sessions.make(Owner { identity: Arc::new(node.clone()), client }, Kind::Peer);
        let mut inside = session.lock();
        inside.expiry_s = PEER_EXPIRY_S;
        inside.bytes_max = self.queue_bytes(Kind::Peer);
        inside.left = Some(heard);
        inside.since = heard;
        self.save(&session, &mut inside);
        drop(inside);
        sessions.look_at(session.id, heard.plus_s(i64::from(PEER_EXPIRY_S)));
        Some(session)
    }

    /// Whose session is asked for; who names no client is given a name that nobody has (§3.1.3.1).
    fn owner(&self, sessions: &Sessions, identity: &Identity, connect: &Connect) -> Owner {
        let own = |client| Owner { identity: Arc::clone(&identity.name), client };
        if !connect.client_id.is_empty() {
            return own(connect.client_id.clone());
        }
        let known = |owner: &Owner| sessions.by_owner.contains_key(owner);
        let numbers = sessions.last_connection..;
        let mut names = numbers.map(|number| own(self.assigned_client_id(number)));
        // There are fewer sessions than numbers.
        names.find(|owner| !known(owner)).unwrap_or_else(|| own(ByteString::new()))
    }

    /// The connection that has the session loses it; gives the will that is due.
    fn take_over(
        &self,
        sessions: &mut Sessions,
        session: &Arc<Session>,
        clean: bool,
    ) -> Option<Arc<Message>> {
        sessions.forget_due(session.id);
        let pending = sessions.wills.remove(&session.id).map(|(_, message)| message);
        let mut inside = session.lock();
        let live = inside.will.take();
        if let Some(online) = &mut inside.online {
            online.end = Some(Reason::SessionTakenOver);
            inside.wake();
        }
        inside.online = None;
        drop(inside);
        if live.is_some() || pending.is_some() {
            self.forget_will(session);
        }
        if clean {
            self.end(sessions, session);
        }
        // A will that is delayed is not published if the session goes on (§3.1.3.2.2).
        let due =
            |(delay_s, message): (u32, Arc<Message>)| (clean || delay_s == 0).then_some(message);
        live.and_then(due).or_else(|| pending.filter(|_| clean).map(Arc::new))
    }

    /// A connection ended; without it the session waits for its expiry, or ends.
    pub(crate) fn leave(
        &self,
        session: &Arc<Session>,
        connection: u64,
        how: Leaving,
        expiry_s: Option<u32>,
        now: Timestamp,
    ) {
        let mut sessions = self.sessions();
        let mut inside = session.lock();
        if inside.online.as_ref().is_none_or(|online| online.connection != connection) {
            return;
        }
        let online = inside.online.take();
        let held = online.map(|online| online.held).unwrap_or_default();
        if let Some(expiry_s) = expiry_s {
            inside.expiry_s = expiry_s.min(SESSION_EXPIRY_MAX_S);
        }
        inside.left = Some(now);
        if session.kind == Kind::Peer {
            session.spill(&mut inside, &self.journal);
        }
        let (expiry_s, ended) = (inside.expiry_s, inside.ended);
        let left = inside.will.take();
        if left.is_some() {
            self.forget_will(session);
        }
        let (mut fired, mut waits) = (None, None);
        match left.filter(|_| how == Leaving::Broken) {
            Some((delay_s, message)) if delay_s > 0 && expiry_s > 0 => {
                let at = now.plus_s(i64::from(delay_s.min(expiry_s)));
                self.save_will(session, &inside, &message, delay_s, Some(at));
                waits = Some((at, message));
            }
            now_due => fired = now_due.map(|(_, message)| message),
        }
        self.save(session, &mut inside);
        drop(inside);
        held.into_iter().for_each(std::task::Waker::wake);
        if let Some((at, message)) = waits {
            sessions.look_at(session.id, at);
            sessions.wills.insert(session.id, (at, (*message).clone()));
        }
        if expiry_s == 0 {
            self.end(&mut sessions, session);
        } else {
            sessions.look_at(session.id, now.plus_s(i64::from(expiry_s)));
        }
        drop(sessions);
        if session.kind == Kind::Peer {
            self.peer_left(&session.owner.identity, !ended, now);
        }
        if let Some(message) = fired {
            self.publish_will(session, &message, now);
        }
    }

    /// Ends a session and all that it has.
    pub(super) fn end(&self, sessions: &mut Sessions, session: &Arc<Session>) {
        sessions.by_owner.remove(&session.owner);
        sessions.by_id.remove(&session.id);
        sessions.peers.remove(&session.id);
        sessions.forget_due(session.id);
        let waiting = sessions.wills.remove(&session.id).is_some();
        let mut inside = session.lock();
        inside.ended = true;
        if inside.will.take().is_some() || waiting {
            self.forget_will(session);
        }
        let subscriptions = std::mem::take(&mut inside.subscriptions);
        if inside.expiry_s > 0 || inside.saved {
            self.journal.write(Table::Sessions, key(session.id, 0), Change::Gone, None);
            for place in inside.queue.saved() {
                self.journal.write(Table::Queue, key(session.id, place), Change::Gone, None);
            }
            for id in &inside.received {
                let row = key(session.id, u64::from(id.get()));
                self.journal.write(Table::Received, row, Change::Gone, None);
            }
        }
        inside.queue = crate::queue::Queue::default();
        inside.readings.clear();
        drop(inside);
        if session.kind == Kind::Peer {
            self.chart().let_go(&session.owner.identity, &self.settings.node);
        }
        if !subscriptions.is_empty() {
            let mut topics = self.topics_mut();
            for kept in subscriptions.values() {
                topics.remove(kept.wanted.filter.as_str(), &place_of(&kept.wanted, session));
                self.lose_interest(session, &kept.wanted);
            }
            drop(topics);
            self.changed();
        }
    }

    /// Writes the row of a session that lasts, or drops it.
    pub(super) fn save(&self, session: &Session, inside: &mut Inside) {
        self.save_for(session, inside, None);
    }

    pub(super) fn save_for(&self, session: &Session, inside: &mut Inside, hold: Option<Hold>) {
        if inside.ended {
            return;
        }
        let row = key(session.id, 0);
        if inside.expiry_s > 0 {
            let bytes = minicbor::to_vec(SessionRow::of(&session.owner, inside));
            inside.saved = true;
            let change = Change::Put(bytes.unwrap_or_default());
            self.journal.write(Table::Sessions, row, change, hold);
        } else if inside.saved {
            self.journal.write(Table::Sessions, row, Change::Gone, None);
        }
    }

    pub(super) const fn queue_bytes(&self, kind: Kind) -> usize {
        match kind {
            Kind::Client => self.settings.bounds.queue_bytes,
            Kind::Peer => PEER_QUEUE_BYTES,
        }
    }

    /// Whose sessions there are.
    #[must_use]
    pub fn identities(&self) -> BTreeSet<Arc<NodeName>> {
        self.sessions().by_owner.keys().map(|owner| Arc::clone(&owner.identity)).collect()
    }

    /// An identity is out since a moment: sessions that it opened before end with their connections
    /// and wills, and nothing of them is said. Gives how many.
    pub fn expel_before(&self, name: &NodeName, at: Timestamp, now: Timestamp) -> usize {
        let mut sessions = self.sessions();
        let theirs = sessions
            .by_owner
            .iter()
            .filter(|(owner, session)| *owner.identity == *name && session.lock().since <= at);
        let theirs: Vec<Arc<Session>> = theirs.map(|(_, session)| Arc::clone(session)).collect();
        if !theirs.is_empty() && self.settings.purge_retained {
            self.purge_retained(name, now);
        }
        for session in &theirs {
            session.end_connection(Reason::AdministrativeAction);
            self.end(&mut sessions, session);
        }
        drop(sessions);
        self.uncharted(name, now);
        theirs.len()
    }
}

impl Sessions {
    fn make(&mut self, owner: Owner, kind: Kind) -> Arc<Session> {
        self.last_id += 1;
        self.add(self.last_id, owner, kind, Inside::default())
    }

    pub(super) fn add(
        &mut self,
        id: u64,
        owner: Owner,
        kind: Kind,
        mut inside: Inside,
    ) -> Arc<Session> {
        inside.queue.share(&self.queued);
        let inside = Mutex::new(inside);
        let session = Arc::new(Session { id, owner: owner.clone(), kind, inside });
        if kind == Kind::Peer {
            self.peers.insert(id);
        }
        self.last_id = self.last_id.max(id);
        self.by_id.insert(id, Arc::clone(&session));
        self.by_owner.insert(owner, Arc::clone(&session));
        session
    }

    pub(super) fn look_at(&mut self, id: u64, at: Timestamp) {
        self.due.insert((at, id));
        self.due_of.entry(id).or_default().push(at);
    }

    fn forget_due(&mut self, id: u64) {
        for at in self.due_of.remove(&id).unwrap_or_default() {
            self.due.remove(&(at, id));
        }
    }
}

fn will_delay(connect: &Connect) -> u32 {
    connect.will.as_ref().map_or(0, |will| will.delay_s)
}

fn online(connection: u64, connect: &Connect, kind: Kind) -> Online {
    let told = connect.packet_bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
    // A peer's decoder has our own bound; a program that set none takes all there is.
    let largest = match kind {
        Kind::Peer => usize::try_from(PACKET_BYTES_MAX).unwrap_or(usize::MAX),
        Kind::Client => usize::MAX,
    };
    Online {
        connection,
        version: connect.version,
        out: Vec::new(),
        waker: None,
        window: usize::from(connect.receive_max.min(WINDOW_MAX)),
        packet_bytes_max: told.unwrap_or(largest),
        aliases: Aliases { max: connect.alias_max.min(ALIAS_MAX), ..Aliases::default() },
        lagging: false,
        written: 0,
        acknowledged: 0,
        held: Vec::new(),
        end: None,
    }
}
