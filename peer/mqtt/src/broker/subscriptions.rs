//! What sessions are subscribed to (MQTT 5.0 §3.8, §3.10).

use std::sync::Arc;

use bytestring::ByteString;
use shared::time::Timestamp;

use super::Broker;
use crate::codec::{Options, Reason, RetainHandling};
use crate::limits::{READING_BYTES, SUBSCRIPTIONS_ALL_MAX, SUBSCRIPTIONS_MAX};
use crate::publication::Publication;
use crate::receipt::Receipt;
use crate::route::{Subscriber, granted, retained_terms};
use crate::session::{Delivered, Kind, Reading, Session, Subscription};
use crate::topic::Wanted;

/// What became of a subscription.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) reason: Reason,
    /// Whether what is retained under it is wanted.
    pub(crate) reading: Option<Reading>,
    /// Settled when every linked peer knows of it.
    pub(crate) told: Option<Arc<Receipt>>,
}

impl Subscribed {
    const fn refused(reason: Reason) -> Self {
        Self { reason, reading: None, told: None }
    }
}

impl Broker {
    /// Adds a subscription; says what was granted, and gives what is retained under it.
    pub(crate) fn subscribe(
        &self,
        session: &Arc<Session>,
        wanted: Wanted,
        options: Options,
        id: Option<u32>,
        saved: &mut Option<Arc<Receipt>>,
    ) -> Subscribed {
        let text = wanted.text();
        let of = (text.clone(), wanted.filter.clone());
        let mut topics = self.topics_mut();
        let mut inside = session.lock();
        if inside.ended {
            return Subscribed::refused(Reason::Unspecified);
        }
        let known = inside.subscriptions.contains_key(&text);
        let many = inside.subscriptions.len() >= SUBSCRIPTIONS_MAX;
        if !known && (many || topics.len() >= SUBSCRIPTIONS_ALL_MAX) {
            return Subscribed::refused(Reason::QuotaExceeded);
        }
        let subscriber = Subscriber {
            session: Arc::clone(session),
            options,
            id,
            shared: wanted.group.as_ref().map(|_| text.clone()),
        };
        topics.insert(wanted.filter.as_str(), place_of(&wanted, session), subscriber);
        // A shared subscription gets nothing that was retained (§4.8.2).
        let retained = wanted.group.is_none()
            && match options.retain_handling {
                RetainHandling::Always => true,
                RetainHandling::IfNew => !known,
                RetainHandling::Never => false,
            };
        // Other peers' wishes are not ours.
        let new =
            !known && session.kind == Kind::Client && !wanted.filter.as_str().starts_with('$');
        let told = new.then(|| self.interest.add(&wanted)).flatten();
        inside.subscriptions.insert(text, Subscription { wanted, options, id });
        // Another peer tells its wishes anew with every link.
        let lasts = inside.expiry_s > 0 && session.kind == Kind::Client;
        let hold = lasts.then(|| saved.get_or_insert_default().hold());
        self.save_for(session, &mut inside, hold);
        drop(inside);
        drop(topics);
        self.changed();
        let (text, filter) = of;
        let reading = retained.then_some(Reading { text, filter, options, id, after: None });
        Subscribed { reason: granted(options.qos), reading, told }
    }

    pub(super) fn lose_interest(&self, session: &Session, wanted: &Wanted) {
        if session.kind == Kind::Client && !wanted.filter.as_str().starts_with('$') {
            self.interest.remove(wanted);
        }
    }

    /// Begins to tell a session what is retained under a filter that it subscribed to; says whether
    /// there is more to tell it.
    pub(crate) fn begin_reading(
        &self,
        session: &Session,
        reading: Reading,
        now: Timestamp,
    ) -> bool {
        let mut inside = session.lock();
        inside.readings.retain(|other| other.text != reading.text);
        inside.readings.push_back(reading);
        drop(inside);
        self.read_on(session, now)
    }

    /// Goes on with it as far as there is room.
    pub(crate) fn read_on(&self, session: &Session, now: Timestamp) -> bool {
        while let Some(Reading { text, filter, options, id, after }) = session.reading() {
            let (messages, more) =
                self.shelf().matching(&filter, after.as_ref(), READING_BYTES, now);
            let terms = retained_terms(options, id);
            let (mut told, mut refused) = (after, false);
            for message in messages {
                let own = options.no_local && session.has_said(&message);
                let mut publication = Publication::new((*message).clone(), now);
                let mut give =
                    || session.deliver(&mut publication, &terms, &mut None, &self.journal);
                if !own && give() == Delivered::Refused {
                    refused = true;
                    break;
                }
                told = Some(message.topic.clone());
            }
            session.read(&text, told.filter(|_| more || refused));
            if refused {
                break;
            }
        }
        !session.lock().readings.is_empty()
    }

    /// Takes a subscription away.
    pub(crate) fn unsubscribe(&self, session: &Arc<Session>, text: &str) -> Reason {
        let mut topics = self.topics_mut();
        let mut inside = session.lock();
        let Some(gone) = inside.subscriptions.remove(text) else {
            return Reason::NoSubscriptionExisted;
        };
        inside.readings.retain(|reading| reading.text != text);
        topics.remove(gone.wanted.filter.as_str(), &place_of(&gone.wanted, session));
        self.lose_interest(session, &gone.wanted);
        self.save(session, &mut inside);
        drop(inside);
        drop(topics);
        self.changed();
        Reason::Success
    }

    /// Ends what a policy does not allow any more.
    pub(super) fn judge_subscriptions(&self) {
        let (_, rights) = self.rights();
        let all: Vec<Arc<Session>> = self.sessions().by_id.values().cloned().collect();
        for session in all {
            let denied: Vec<ByteString> = {
                let inside = session.lock();
                let Some(identity) = inside.identity.clone() else { continue };
                let standing = rights.standing(identity.who());
                let client = &session.owner.client;
                let kept = inside.subscriptions.iter();
                kept.filter(|(_, s)| !rights.may_subscribe(&standing, client, &s.wanted.filter))
                    .map(|(text, _)| text.clone())
                    .collect()
            };
            for text in denied {
                self.unsubscribe(&session, &text);
            }
        }
    }
}

/// The key of a subscription in the tree.
pub(super) fn place_of(wanted: &Wanted, session: &Session) -> (ByteString, u64) {
    (wanted.group.clone().unwrap_or_default(), session.id)
}
