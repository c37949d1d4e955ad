//! `mqtt.*`: our endpoint for MQTT beside Debian's Mosquitto and NATS, in one run.
//!
//! Each engine is a process of its own. The load comes from threads of this one: it shares the
//! cores with the engines, so what it costs is taken from all of them alike.

mod client;
mod contest;
mod engine;
mod flow;
mod packets;
mod rates;

pub(crate) use rates::{measure, measure_fans, measure_unbatched};
