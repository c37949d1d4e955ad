//! `mqtt.*`: our endpoint for MQTT beside Debian's Mosquitto and NATS, in one run.
//!
//! Each engine is a process of its own. The load comes from threads of this one: it shares the
//! cores with the engines, so what it costs is taken from all of them alike.

mod client;
mod contest;
mod durable;
mod engine;
mod flow;
mod idle;
mod joined;
mod latency;
mod packets;
mod rates;

pub(crate) use durable::measure as measure_durable;
pub(crate) use engine::find;
pub(crate) use idle::measure as measure_sessions;
pub(crate) use joined::measure as measure_mesh;
pub(crate) use latency::measure as measure_latency;
pub(crate) use rates::{measure, measure_fans, measure_unbatched};
