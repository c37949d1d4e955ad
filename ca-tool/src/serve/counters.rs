//! What the door counts, and how the authority stands, as Prometheus reads it.
//!
//! Names follow the conventions of the exposition format: `conclave_ca_…`, units last, `_total` on
//! counters.

use std::borrow::Cow;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry as Metrics;

use crate::authority::Registry;
use crate::error::CaError;

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Label {
    name: &'static str,
    value: Cow<'static, str>,
}

impl EncodeLabelSet for Label {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelSet::encode(&[(self.name, self.value.as_ref())], encoder)
    }
}

/// Everything that is counted.
pub(super) struct Counters {
    metrics: Metrics,
    joins: Counter,
    renewals: Counter,
    refusals: Family<Label, Counter>,
    turned_away: Family<Label, Counter>,
    connections: Gauge,
    nodes: Family<Label, Gauge>,
    nodes_late: Gauge,
    invitations: Family<Label, Gauge>,
    feed_number: Gauge,
    feed_next_update: Gauge,
    issuing_not_after: Gauge,
}

impl Counters {
    pub(super) fn new() -> Self {
        let mut metrics = Metrics::with_prefix("conclave_ca");
        let (joins, renewals) = (Counter::default(), Counter::default());
        let (refusals, turned_away) = (Family::default(), Family::default());
        let (nodes, invitations) = (Family::default(), Family::default());
        let gauge = Gauge::<i64, AtomicI64>::default;
        let (connections, nodes_late, feed_number) = (gauge(), gauge(), gauge());
        let (feed_next_update, issuing_not_after) = (gauge(), gauge());
        metrics.register("joins", "Nodes that joined by an invitation", joins.clone());
        metrics.register("renewals", "Certificates renewed", renewals.clone());
        metrics.register("refusals", "Requests refused, by code", refusals.clone());
        let help = "Connections ended before a request, by cause";
        metrics.register("turned_away", help, turned_away.clone());
        metrics.register("connections", "Connections open", connections.clone());
        metrics.register("nodes", "Nodes, by standing", nodes.clone());
        let help = "Active nodes that were not renewed in time";
        metrics.register("nodes_late", help, nodes_late.clone());
        metrics.register("invitations", "Invitations, by state", invitations.clone());
        metrics.register("feed_number", "Number of the revocation feed", feed_number.clone());
        let help = "When the feed wants to be signed again";
        let name = "feed_next_update_timestamp_seconds";
        metrics.register(name, help, feed_next_update.clone());
        let help = "When the issuing certificate ends";
        let name = "issuing_not_after_timestamp_seconds";
        metrics.register(name, help, issuing_not_after.clone());
        Self {
            metrics,
            joins,
            renewals,
            refusals,
            turned_away,
            connections,
            nodes,
            nodes_late,
            invitations,
            feed_number,
            feed_next_update,
            issuing_not_after,
        }
    }

    pub(super) fn joined(&self) {
        self.joins.inc();
    }

    pub(super) fn renewed(&self) {
        self.renewals.inc();
    }

    pub(super) fn refused(&self, code: shared::join::Code) {
        self.refusals.get_or_create(&Label { name: "code", value: code.as_str().into() }).inc();
    }

    pub(super) fn turned_away(&self, cause: &'static str) {
        self.turned_away.get_or_create(&Label { name: "cause", value: cause.into() }).inc();
    }

    pub(super) fn connected(&self) {
        self.connections.inc();
    }

    pub(super) fn disconnected(&self) {
        self.connections.dec();
    }

    /// Everything as text, with how the authority stands now.
    pub(super) fn text(&self, registry: &Registry) -> Result<String, CaError> {
        self.nodes.clear();
        let nodes = registry.nodes()?;
        let late = nodes.iter().filter(|node| node.late).count();
        self.nodes_late.set(i64::try_from(late).unwrap_or(i64::MAX));
        for node in nodes {
            self.nodes.get_or_create(&Label { name: "standing", value: node.standing }).inc();
        }
        self.invitations.clear();
        for one in registry.invitations()? {
            self.invitations.get_or_create(&Label { name: "state", value: one.state }).inc();
        }
        let number = registry.feed_position()?.number;
        self.feed_number.set(i64::try_from(number).unwrap_or(i64::MAX));
        self.feed_next_update.set(registry.feed_next_update()?.s());
        self.issuing_not_after.set(registry.issuing_not_after()?.s());
        let mut text = String::new();
        encode(&mut text, &self.metrics).map_err(|_| CaError::Unusable)?;
        Ok(text)
    }
}
