//! Sessions and what waits in them, as rows of a file.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytestring::ByteString;
use minicbor::{Decode, Encode};
use shared::cert::Attributes;
use shared::name::{Label, NodeName};
use shared::time::Timestamp;

use crate::codec::{Options, Qos, RetainHandling};
use crate::identity::Identity;
use crate::message::{Message, Record};
use crate::queue::Item;
use crate::session::{Inside, Owner, Subscription};
use crate::topic::Wanted;

impl Item {
    pub(crate) fn to_row(&self) -> Vec<u8> {
        let row = ItemRow {
            message: self.message.to_record(),
            qos: self.qos.bits(),
            retain: self.retain,
            ids: self.ids.to_vec(),
        };
        minicbor::to_vec(row).unwrap_or_default()
    }

    pub(crate) fn from_row(bytes: &[u8]) -> Option<Self> {
        let row: ItemRow<'_> = minicbor::decode(bytes).ok()?;
        Some(Self {
            message: Arc::new(Message::from_record(&row.message)?),
            qos: Qos::from_bits(row.qos)?,
            retain: row.retain,
            ids: row.ids.into(),
            saved: true,
            hold: None,
        })
    }
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct ItemRow<'r> {
    #[b(0)]
    message: Record<'r>,
    #[n(1)]
    qos: u8,
    #[n(2)]
    retain: bool,
    #[n(3)]
    ids: Vec<u32>,
}

/// A session without its queue.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct SessionRow {
    #[n(0)]
    identity: String,
    #[n(1)]
    client: String,
    #[n(2)]
    pub(crate) expiry_s: u32,
    #[n(3)]
    pub(crate) left: Option<Timestamp>,
    #[n(4)]
    subscriptions: Vec<SubscriptionRow>,
    #[n(5)]
    groups: Vec<String>,
    #[n(6)]
    roles: Vec<String>,
    #[n(7)]
    pub(crate) since: Timestamp,
    /// From which place on nothing of its queue was sent; not known while it has a connection.
    #[n(8)]
    pub(crate) unsent: Option<u64>,
}

#[derive(Debug, Encode, Decode)]
#[cbor(array)]
struct SubscriptionRow {
    #[n(0)]
    filter: String,
    /// As in a SUBSCRIBE (§3.8.3.1).
    #[n(1)]
    options: u8,
    #[n(2)]
    id: Option<u32>,
}

impl SessionRow {
    pub(crate) fn of(owner: &Owner, inside: &Inside) -> Self {
        let subscriptions = inside.subscriptions.iter().map(|(filter, kept)| SubscriptionRow {
            filter: filter.to_string(),
            options: kept.options.bits(),
            id: kept.id,
        });
        Self {
            identity: owner.identity.to_string(),
            client: owner.client.to_string(),
            expiry_s: inside.expiry_s,
            left: inside.left,
            since: inside.since,
            unsent: inside.left.map(|_| inside.queue.unsent()),
            subscriptions: subscriptions.collect(),
            groups: labels(inside, |attributes| &attributes.groups),
            roles: labels(inside, |attributes| &attributes.roles),
        }
    }

    /// Who was connected last.
    pub(crate) fn identity(&self) -> Option<Identity> {
        identity(&self.identity, &self.groups, &self.roles)
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        owner(&self.identity, &self.client)
    }

    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = (ByteString, Subscription)> {
        self.subscriptions.iter().filter_map(|row| {
            let kept = Subscription {
                wanted: Wanted::parse(&row.filter)?,
                options: options(row.options)?,
                id: row.id,
            };
            Some((ByteString::from(row.filter.as_str()), kept))
        })
    }
}

/// A will, with all that is needed if nothing else of its session is in the file.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct WillRow<'r> {
    #[n(0)]
    identity: String,
    #[n(1)]
    client: String,
    #[n(2)]
    groups: Vec<String>,
    #[n(3)]
    roles: Vec<String>,
    #[n(4)]
    pub(crate) since: Timestamp,
    #[n(5)]
    pub(crate) delay_s: u32,
    /// When it is due, if its connection is gone.
    #[n(6)]
    pub(crate) at: Option<Timestamp>,
    #[b(7)]
    message: Record<'r>,
}

impl<'r> WillRow<'r> {
    pub(crate) fn of(
        owner: &Owner,
        inside: &Inside,
        will: &'r Message,
        delay_s: u32,
        at: Option<Timestamp>,
    ) -> Self {
        Self {
            identity: owner.identity.to_string(),
            client: owner.client.to_string(),
            groups: labels(inside, |attributes| &attributes.groups),
            roles: labels(inside, |attributes| &attributes.roles),
            since: inside.since,
            delay_s,
            at,
            message: will.to_record(),
        }
    }

    /// Whose it is.
    pub(crate) fn owner(&self) -> Option<Owner> {
        owner(&self.identity, &self.client)
    }

    /// As the policy saw him.
    pub(crate) fn identity(&self) -> Option<Identity> {
        identity(&self.identity, &self.groups, &self.roles)
    }

    pub(crate) fn message(&self) -> Option<Message> {
        Message::from_record(&self.message)
    }
}

fn owner(identity: &str, client: &str) -> Option<Owner> {
    let identity = Arc::new(NodeName::parse(identity).ok()?);
    Some(Owner { identity, client: ByteString::from(client) })
}

fn identity(name: &str, groups: &[String], roles: &[String]) -> Option<Identity> {
    let name = Arc::new(NodeName::parse(name).ok()?);
    let parse =
        |texts: &[String]| texts.iter().filter_map(|text| Label::parse(text).ok()).collect();
    Some(Identity { name, attributes: Attributes { groups: parse(groups), roles: parse(roles) } })
}

fn labels(inside: &Inside, of: impl Fn(&Attributes) -> &BTreeSet<Label>) -> Vec<String> {
    let identity = inside.identity.as_ref();
    let labels = identity.map(|identity| of(&identity.attributes).iter().map(ToString::to_string));
    labels.map(Iterator::collect).unwrap_or_default()
}

const fn options(bits: u8) -> Option<Options> {
    let Some(qos) = Qos::from_bits(bits & 3) else { return None };
    let retain_handling = match bits >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return None,
    };
    let (no_local, retain_as_published) = (bits & 4 != 0, bits & 8 != 0);
    Some(Options { qos, no_local, retain_as_published, retain_handling })
}
