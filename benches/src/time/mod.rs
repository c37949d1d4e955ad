//! `time.*`: our answering side beside Debian's chronyd, and how well clocks keep together.
//!
//! Rates are answers a second of processor time that the server took, by the kernel's own account:
//! what the load costs, and who else runs on the machine, is in neither.

mod idle;
mod kept;
mod keys;
mod load;
mod rates;
mod server;
mod skew;
mod wire;

pub(crate) use idle::measure as measure_idle;
pub(crate) use kept::measure as measure_offset;
pub(crate) use rates::{measure_exchanges, measure_rate};
pub(crate) use skew::measure as measure_skew;
