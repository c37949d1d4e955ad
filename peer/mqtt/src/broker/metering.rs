//! Whose publications are counted: one meter for all connections of an identity.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use shared::name::NodeName;
use shared::policy::Rates;
use shared::time::Tick;

use super::Broker;
use crate::identity::{Identity, Rights};
use crate::limits::QUOTA_METERS_MIN;
use crate::quota::Meter;

/// The meters of one policy.
#[derive(Debug, Default)]
pub(super) struct Meters {
    by_name: BTreeMap<NodeName, (Rates, Arc<Meter>)>,
    /// How many there may be before the unused are forgotten.
    bound: usize,
}

impl Broker {
    /// The meter of an identity; none if the policy does not bound it.
    pub(crate) fn meter(
        &self,
        rights: &Rights,
        identity: &Identity,
        now: Tick,
    ) -> Option<Arc<Meter>> {
        let rates = rights.rates(identity.who());
        let fresh = Meter::of(rates, now)?;
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let known = meters.by_name.get(&*identity.name).filter(|(counts, _)| *counts == rates);
        if let Some((_, meter)) = known {
            return Some(Arc::clone(meter));
        }
        if meters.by_name.len() >= meters.bound.max(QUOTA_METERS_MIN) {
            let in_use = |meter: &Arc<Meter>| Arc::strong_count(meter) > 1 || !meter.is_fresh(now);
            meters.by_name.retain(|_, (_, meter)| in_use(meter));
            meters.bound = meters.by_name.len() * 2;
        }
        let meter = Arc::new(fresh);
        meters.by_name.insert((*identity.name).clone(), (rates, Arc::clone(&meter)));
        Some(meter)
    }
}
