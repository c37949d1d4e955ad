//! Whether somebody keeps the system's clock, and how well, by what the kernel was told.
//!
//! Not by its flag `STA_UNSYNC`: chronyd leaves that set unless it may write the hardware clock
//! too. The greatest error says it as well: it grows to 16 s when nobody sets it any more.
//!
//! **Invariant:** a clock of which the kernel knows nothing is never called kept.

use std::fmt;
use std::io;

use timex::Timex;

/// The error at which the kernel gives a clock up, in µs (`NTP_PHASE_LIMIT`).
const GIVEN_UP_US: i64 = 16_000_000;
/// What a clock may be wrong by, in ns, on top of what its keeper says, if that has never measured
/// its error: systemd-timesyncd tells the kernel 0, and asks one server at a time.
const NOT_MEASURED_NS: u64 = 100_000_000;

/// A system's clock that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How far it may be from the true time, in ns.
    pub error_ns: u64,
    /// What the day's last minute has more or less.
    pub leap: Second,
}

/// A leap second that is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// None.
    Usual,
    /// One is inserted.
    Inserted,
    /// One is left out.
    LeftOut,
}

/// Why a system's clock is not relied upon.
#[derive(Debug)]
pub enum Unkept {
    /// Nobody sets it.
    Nobody,
    /// Its hardware is broken.
    Broken,
    /// The kernel does not say.
    Unknown(io::Error),
}

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody keeps the system's clock, says the kernel"),
            Self::Broken => f.write_str("the system's clock is broken, says the kernel"),
            Self::Unknown(error) => write!(f, "the kernel does not say who keeps it: {error}"),
        }
    }
}

/// Asks the kernel about the system's clock.
///
/// # Errors
/// [`Unkept`] unless somebody keeps it.
pub fn kept() -> Result<Kept, Unkept> {
    judge(timex::read().map_err(Unkept::Unknown)?)
}

fn judge(said: Timex) -> Result<Kept, Unkept> {
    if said.status & timex::BROKEN != 0 {
        return Err(Unkept::Broken);
    }
    if !(0..GIVEN_UP_US).contains(&said.max_error_us) {
        return Err(Unkept::Nobody);
    }
    let leap = match (said.status & timex::INSERT != 0, said.status & timex::DELETE != 0) {
        (true, false) => Second::Inserted,
        (false, true) => Second::LeftOut,
        _ => Second::Usual,
    };
    let more_ns = if said.est_error_us == 0 { NOT_MEASURED_NS } else { 0 };
    Ok(Kept { error_ns: said.max_error_us.unsigned_abs() * 1_000 + more_ns, leap })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSYNCHRONISED: i32 = 0x40;

    fn said(status: i32, max_error_us: i64, est_error_us: i64) -> Result<Kept, Unkept> {
        judge(Timex { status, max_error_us, est_error_us })
    }

    #[test]
    fn a_clock_is_as_good_as_its_keeper_says() {
        let kept = said(0, 1_500, 20).unwrap();
        assert_eq!(kept, Kept { error_ns: 1_500_000, leap: Second::Usual });
        assert_eq!(said(UNSYNCHRONISED, 1_500, 20).unwrap(), kept, "chronyd without rtcsync");
        assert_eq!(said(0, 1_500, 0).unwrap().error_ns, 101_500_000, "who never measured");
    }

    #[test]
    fn a_leap_second_is_passed_on() {
        assert_eq!(said(timex::INSERT, 1, 1).unwrap().leap, Second::Inserted);
        assert_eq!(said(timex::DELETE, 1, 1).unwrap().leap, Second::LeftOut);
        assert_eq!(said(timex::INSERT | timex::DELETE, 1, 1).unwrap().leap, Second::Usual);
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_none() {
        for max_error_us in [16_000_000, i64::MAX, -1, i64::MIN] {
            assert!(matches!(said(0, max_error_us, 1), Err(Unkept::Nobody)), "{max_error_us}");
        }
        assert!(matches!(said(timex::BROKEN, 1, 1), Err(Unkept::Broken)));
        assert!(said(0, 15_999_999, 1).is_ok());
    }
}
