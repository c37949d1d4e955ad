//! The feed in the hall: apply, cut exactly whom it bars, pass it on, acknowledge.

use shared::feed::{Act, FeedError, Mark, News, Part, Update};
use shared::name::NodeName;
use shared::refusal::{Code, Refusal};
use shared::time::Now;
use shared::wire::{Ack, Body};

use super::Node;
use crate::action::{Action, Event, Of, Way};
use crate::feeding::Back;
use crate::links::LinkId;

impl Node {
    /// An update that a person brought in a file.
    ///
    /// # Errors
    /// [`FeedError`]; nothing has changed then.
    pub fn handle_feed(&mut self, update: Update, now: Now) -> Result<u32, FeedError> {
        let before = self.position().number;
        let news = self.verifier.apply_feed(&mut self.feed, update, now.wall)?;
        if news.fresh {
            self.feeding.came_from(self.feed.position().number, None);
        }
        Ok(self.adopt(&news, None, before, now))
    }

    pub(super) fn take_part(&mut self, link: LinkId, part: Part, now: Now) -> Result<(), Refusal> {
        let update = self
            .feeding
            .take(link, part)
            .map_err(|refused| Refusal::new(Code::Malformed, refused.to_string()))?;
        match update {
            Some(update) => self.take_update(link, update, now),
            None => Ok(()),
        }
    }

    fn take_update(&mut self, link: LinkId, update: Update, now: Now) -> Result<(), Refusal> {
        let before = self.position().number;
        match self.verifier.apply_feed(&mut self.feed, update, now.wall) {
            Ok(news) => {
                let number = self.position().number;
                self.note_position(link, number);
                if news.fresh {
                    self.feeding.came_from(number, Some(link));
                }
                self.adopt(&news, Some(link), before, now);
                let cut = self.feeding.cut_for(number);
                let node = self.settings.node.clone();
                self.send(link, &Body::FeedAck(Ack { number, node, cut }));
            }
            Err(FeedError::Older { theirs, .. }) => {
                self.note_position(link, theirs);
                self.send_feed(link, theirs);
            }
            Err(FeedError::Gap { .. }) => {
                let have = self.position().number;
                self.send(link, &Body::FeedWant(have));
            }
            Err(error) => self.report(link, &error),
        }
        Ok(())
    }

    fn report(&mut self, link: LinkId, error: &FeedError) {
        let Some(from) = self.links.get(link).map(|link| link.member.node().clone()) else {
            return;
        };
        let serious = matches!(
            error,
            FeedError::Equivocation { .. } | FeedError::Fork { .. } | FeedError::Forgets { .. }
        );
        self.tell(Event::FeedRefused { from, why: error.to_string(), serious });
    }

    fn note_position(&mut self, link: LinkId, number: u64) {
        if let Some(entry) = self.links.get_mut(link) {
            entry.feed_number = entry.feed_number.max(number);
        }
    }

    /// The set has changed: cut, pass on, save. In this order: who is out hears nothing more.
    fn adopt(&mut self, news: &News, from: Option<LinkId>, before: u64, now: Now) -> u32 {
        if !news.fresh {
            return 0;
        }
        let cut = self.cut_barred(now);
        for entry in &news.entries {
            self.dialling.encourage(&entry.node, now.tick);
            if entry.act == Act::Revoke {
                self.drop_post(&entry.node, Code::Revoked);
            }
        }
        let number = self.position().number;
        for link in self.ready_links().into_iter().filter(|link| Some(*link) != from) {
            let theirs = self.links.get(link).map_or(before, |entry| entry.feed_number);
            self.send_feed(link, theirs);
            self.note_position(link, number);
        }
        self.feeding.note_cut(number, cut);
        self.push(Action::SaveFeed);
        self.staleness.forget();
        self.tell(Event::FeedApplied { number, cut });
        cut
    }

    /// Cuts every link whose chain the set bars now, and forgets barred presences.
    fn cut_barred(&mut self, now: Now) -> u32 {
        let barred: Vec<(LinkId, NodeName, Mark)> = self
            .verifier
            .read_set(|set| {
                let judged = self.links.iter().filter_map(|(id, l)| Some((id, l, l.judge(set)?)));
                judged.map(|(id, link, mark)| (id, link.member.node().clone(), mark)).collect()
            })
            .unwrap_or_default();
        let gone: Vec<NodeName> = self
            .verifier
            .read_set(|set| {
                let known = self.directory.chains();
                known.filter(|(_, ids)| set.judge(ids).is_some()).map(|(n, _)| n.clone()).collect()
            })
            .unwrap_or_default();
        let count = u32::try_from(barred.len()).unwrap_or(u32::MAX);
        self.cut_circuits();
        for (link, node, mark) in barred {
            self.end(link, Way::Cut, "its node is out", now);
            self.tell(Event::Cut { node, mark });
        }
        for node in &gone {
            self.directory.remove(node);
        }
        self.forget_barred(gone, now);
        self.look_at_self();
        count
    }

    /// Our own standing: a barred node dials nobody, and says so.
    fn look_at_self(&mut self) {
        let mark = self.verifier.mark_of(&self.settings.own).unwrap_or_default();
        if let Some(mark) = mark.filter(|_| !self.barred) {
            self.tell(Event::SelfBarred { mark });
        }
        self.barred = mark.is_some();
    }

    /// What the other side lacks, if we have more.
    pub(super) fn send_feed(&mut self, link: LinkId, theirs: u64) {
        let ours = self.position();
        if theirs > ours.number {
            return;
        }
        let Some(update) = self.feed.update_since(theirs) else { return };
        for part in update.into_parts() {
            self.send(link, &Body::Feed(part));
        }
    }

    pub(super) fn carry_back(&mut self, link: LinkId, ack: Ack) {
        self.note_position(link, ack.number);
        match self.feeding.way_back(ack.number, &ack.node, link) {
            Some(Back::Link(back)) => self.send(back, &Body::FeedAck(ack)),
            Some(Back::Here) => self.push(Action::Acknowledged { of: Of::Feed, ack }),
            None => {}
        }
    }
}
