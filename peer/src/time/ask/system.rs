//! The system's clock, asked like any other source, for as long as the kernel says that somebody
//! keeps it.

use host::kernel::{Second, kept};
use nts::client::Sample;
use nts::ntp::{Leap, ReferenceId, Span};

use crate::limits::SYSTEM_STRATUM;

/// 2^-30 s: the clock is read in nanoseconds.
const PRECISION: i8 = -30;

/// Reads it.
///
/// # Errors
/// Why it is not relied upon, for people.
pub(super) fn ask() -> Result<Sample, String> {
    let kept = kept().map_err(|why| why.to_string())?;
    let count = || i64::try_from(host::clock::count_ns()).unwrap_or(i64::MAX);
    let (before, there, after) = (count(), host::clock::wall_ns(), count());
    Ok(Sample {
        t1_ns: before,
        t2_ns: there,
        t3_ns: there,
        t4_ns: after,
        root_delay: Span::default(),
        root_dispersion: Span::from_ns(i64::try_from(kept.error_ns).unwrap_or(i64::MAX)),
        stratum: SYSTEM_STRATUM,
        leap: match kept.leap {
            Second::Usual => Leap::Steady,
            Second::Inserted => Leap::Insert,
            Second::LeftOut => Leap::Delete,
        },
        reference_id: ReferenceId::new(*b"LOCL"),
        reference_ns: there,
        precision: PRECISION,
        poll: 0,
        is_authentic: true,
    })
}
