//! The mesh clock without a socket: whom to believe about the time, and a clock that shows it.
//!
//! Pure, as `peer-core` is: measurements and moments come in as arguments, orders and events go
//! out. The rooms, from the ground up: [`limits`], [`moment`] and [`interval`] are words;
//! [`measure`] takes one measurement, [`fit`] and [`source`] learn from many; [`select`] judges all
//! that sources say; [`discipline`] moves the clock that [`face`] shows; [`floor`] is what it is
//! later than in any case, [`statements`] what others have signed about theirs. [`keeper`] is the
//! hall: the one machine that a daemon drives.
//!
//! **Invariant:** nothing here reads a clock, draws a random number or touches the system clock.

pub mod discipline;
pub mod event;
pub mod face;
pub mod fit;
pub mod floor;
pub mod interval;
pub mod keeper;
pub mod limits;
pub mod measure;
pub mod moment;
pub mod select;
pub mod source;
pub mod statements;
