//! How many files, and with them connections, this process may have open.
//!
//! The usual soft limit of 1024 is for programs that still use `select`; the hard one is the
//! system's own.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as the system lets this process; the limit there is then.
#[must_use]
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // None is no limit.
    now.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_system_lets_us() {
        let limit = raise_limit();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit, now.current.unwrap_or(u64::MAX));
    }
}
