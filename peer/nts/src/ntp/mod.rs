//! NTP version 4 on the wire (RFC 5905, RFC 7822), without a thought about security.

mod fields;
mod header;
mod kiss;
mod stamp;

pub use fields::{Field, FieldError, Fields};
pub(crate) use header::TRANSMIT_AT;
pub use header::{HEADER_BYTES, Header, Leap, Mode};
pub use kiss::{Kiss, ReferenceId};
pub use stamp::{Span, Stamp};
