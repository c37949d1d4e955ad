//! What the daemon counts, and the text that Prometheus reads; part of the control protocol.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, without what all names begin with.
    pub name: String,
    /// What it is, in a sentence.
    pub what: String,
    /// Whether it only grows.
    pub is_counter: bool,
    /// How much.
    pub value: u64,
}

impl Metric {
    /// Something that only grows.
    #[must_use]
    pub fn counter(name: &str, what: &str, value: u64) -> Self {
        Self { name: name.to_owned(), what: what.to_owned(), is_counter: true, value }
    }

    /// Something that comes and goes.
    #[must_use]
    pub fn gauge(name: &str, what: &str, value: u64) -> Self {
        Self { is_counter: false, ..Self::counter(name, what, value) }
    }
}

/// All of them as Prometheus reads them (OpenMetrics 1.0).
#[must_use]
pub fn text(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for Metric { name, what, is_counter, value } in metrics {
        let (kind, end) = if *is_counter { ("counter", "_total") } else { ("gauge", "") };
        // A String takes everything.
        let _ = write!(
            text,
            "# HELP conclave_{name} {what}\n# TYPE conclave_{name} {kind}\n\
             conclave_{name}{end} {value}\n"
        );
    }
    text.push_str("# EOF\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_prometheus_reads() {
        let gauge = Metric::gauge("sources", "Sources in use.", 3);
        assert_eq!(
            text(&[Metric::counter("nts_naks", "Cookies that did not open.", 7), gauge]),
            "# HELP conclave_nts_naks Cookies that did not open.\n\
             # TYPE conclave_nts_naks counter\nconclave_nts_naks_total 7\n\
             # HELP conclave_sources Sources in use.\n# TYPE conclave_sources gauge\n\
             conclave_sources 3\n# EOF\n"
        );
    }
}
