//! The bounds of the control socket, each with its argument.

use std::time::Duration;

/// Bytes of a question: a request for ML-DSA-87 has 7.6 kB, a policy 32 kB.
pub(super) const QUESTION_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of an answer: a grant with the longest feed, twice in base64.
pub(super) const ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Commands at once; the others wait in the backlog.
pub(super) const CLIENTS_MAX: usize = 64;
/// How long a command may take with its next question: it has at most files to write.
pub(super) const QUESTION: Duration = Duration::from_secs(20);
/// How long it may take to read its answer.
pub(super) const READING: Duration = Duration::from_secs(60);
/// How long a command waits for an answer: news to sixteen peers that do not answer.
pub(super) const ANSWER: Duration = Duration::from_secs(180);
/// How long a command looks for either way to the authority.
pub(super) const WAIT: Duration = Duration::from_secs(30);
/// How long it tries one way before it looks at the other again.
pub(super) const TURN: Duration = Duration::from_millis(250);
/// How long an accept that failed is not tried again.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
