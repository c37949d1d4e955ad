//! `make soak`: so many messages and restarts, and a table of what came of it.

#![allow(clippy::unwrap_used, reason = "a tool of the tests: whoever runs it sees what is wrong")]

use std::io::Write as _;

use tests::soak::{Size, run};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let messages = numbers.next().unwrap_or(200_000);
    let restarts = numbers.next().unwrap_or(40);
    let mut err = std::io::stderr();
    let report = run(Size { messages, restarts }, |line| writeln!(err, "{line}").unwrap());
    let mut out = std::io::stdout();
    let seconds = report.took.as_secs_f64();
    let mut row = |what: &str, value: String| writeln!(out, "| {what} | {value} |").unwrap();
    row("messages, each once and in order", report.messages.to_string());
    row("daemons restarted on another port, half by `kill -9`", report.restarts.to_string());
    row("links lost and made again", report.relinked.to_string());
    row("time", format!("{seconds:.0} s"));
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let rate = report.messages as f64 / seconds;
    row("messages/s, all together", format!("{rate:.0}"));
    for memory in report.memory {
        let [first, middle, last] = memory.kib;
        let what = format!("memory of {}: before, in the middle, at the end", memory.node);
        row(&what, format!("{first}, {middle}, {last} KiB"));
    }
    row("left in queues, dropped", "0, 0".to_owned());
}
