//! What the kernel says of the system's clock: adjtimex(2), read and never set.
//!
//! The only room of the house with `unsafe` in it: no library that is kept hands out this call.
//!
//! **Invariant:** `modes` is zero, so the kernel changes nothing, whatever the caller may do.

use std::io;

/// The part of `struct timex` that says how good the clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timex {
    /// `STA_*`.
    pub status: i32,
    /// Greatest error in µs, which the kernel lets grow by 500 ppm for as long as nobody sets it.
    pub max_error_us: i64,
    /// Error in µs as whoever keeps the clock estimates it.
    pub est_error_us: i64,
}

/// A leap second is to be inserted at the end of the day (`STA_INS`).
pub const INSERT: i32 = 0x10;
/// A second is to be left out at the end of the day (`STA_DEL`).
pub const DELETE: i32 = 0x20;
/// The clock's hardware is broken (`STA_CLOCKERR`).
pub const BROKEN: i32 = 0x1000;

/// Asks the kernel.
///
/// # Errors
/// What the kernel says, where a sandbox keeps this call from us, say; and on other systems.
#[cfg(target_os = "linux")]
pub fn read() -> io::Result<Timex> {
    let mut timex = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is to a whole `timex` of ours that lives through the call, and nobody
    // else has it.
    #[allow(unsafe_code, reason = "a system call")]
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, and it is made of integers only, for which all zeros is a value.
    #[allow(unsafe_code, reason = "what the call has filled in")]
    let timex = unsafe { timex.assume_init() };
    let (max_error_us, est_error_us) = (wide(timex.maxerror), wide(timex.esterror));
    Ok(Timex { status: timex.status, max_error_us, est_error_us })
}

/// `long`, which has 32 bits on some machines.
#[cfg(target_os = "linux")]
fn wide(value: impl Into<i64>) -> i64 {
    value.into()
}

/// Asks nobody.
///
/// # Errors
/// Always: there is no such call here.
#[cfg(not(target_os = "linux"))]
pub fn read() -> io::Result<Timex> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_systems() {
        assert_eq!([INSERT, DELETE, BROKEN], [libc::STA_INS, libc::STA_DEL, libc::STA_CLOCKERR]);
    }

    #[test]
    fn the_kernel_says_what_a_clock_can_be() {
        match read() {
            Ok(said) => {
                assert!((0..=16_000_000).contains(&said.max_error_us), "{said:?}");
                assert!(said.est_error_us >= 0, "{said:?}");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "a sandbox"),
        }
    }
}
