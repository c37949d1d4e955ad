//! Logs on stderr, as text for people or as JSON lines for machines.
//!
//! stdout belongs to data. `CONCLAVE_LOG` overrides the level for one run, in the syntax of
//! `tracing-subscriber` (`debug`, `info,peer::gossip=trace`).

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// The variable that overrides the filter.
pub const LOG_VARIABLE: &str = "CONCLAVE_LOG";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line a person reads.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging at `level` ("info"). A second call changes nothing, and a filter that cannot be
/// read falls back to `level`, then to "info": a typing error must not stop or silence a daemon.
pub fn init(format: LogFormat, level: &str) {
    let wanted = std::env::var(LOG_VARIABLE).ok().filter(|text| !text.is_empty());
    let (filter, bad) = choose(wanted.as_deref(), level);
    let colour = io::stderr().is_terminal() && !no_colour();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(colour).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).try_init(),
    };
    if let (Ok(()), Some(filter)) = (started, bad) {
        tracing::warn!(filter, "log filter not understood");
    }
}

/// Whether the user asked for no colour (<https://no-color.org>).
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The first filter that can be read, and the first that cannot.
fn choose<'a>(wanted: Option<&'a str>, level: &'a str) -> (EnvFilter, Option<&'a str>) {
    let mut bad = None;
    for text in wanted.into_iter().chain([level]) {
        match EnvFilter::builder().parse(text) {
            Ok(filter) => return (filter, bad),
            Err(_) => bad = bad.or(Some(text)),
        }
    }
    (EnvFilter::new("info"), bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_level() {
        let (filter, bad) = choose(Some("debug"), "info");
        assert_eq!((filter.to_string().as_str(), bad), ("debug", None));
        let (filter, bad) = choose(None, "warn");
        assert_eq!((filter.to_string().as_str(), bad), ("warn", None));
    }

    #[test]
    fn what_cannot_be_read_falls_back_and_is_told() {
        let (filter, bad) = choose(Some("a=b=c"), "warn");
        assert_eq!((filter.to_string().as_str(), bad), ("warn", Some("a=b=c")));
        let (filter, bad) = choose(None, "a=b=c");
        assert_eq!((filter.to_string().as_str(), bad), ("info", Some("a=b=c")));
    }

    #[test]
    fn starting_twice_is_harmless() {
        init(LogFormat::Text, "off");
        init(LogFormat::Json, "off");
    }
}
