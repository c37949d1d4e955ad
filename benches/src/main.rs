//! `bench`: every figure of docs/benchmarks.md, each beside its limit in the same run.
//!
//! A figure that stands alone says more about the machine than about the program. So each is
//! measured in short rounds that take turns with the bare thing under it, and what counts is the
//! ratio within a round.
//!
//! **Invariant:** a group of figures is written whole or not at all, and one that fails does not
//! take the others with it.

mod algorithms;
mod broadcast;
mod cut;
mod durable;
mod handshake;
mod harness;
mod issue;
mod join;
mod link;
mod live;
mod load;
mod memory;
mod mesh;
mod mqtt;
mod outcast;
mod pipe;
mod relay;
mod report;
mod send;
mod sim;
mod start;
mod store;
mod time;
mod verify;
mod world;

use std::path::PathBuf;

use anyhow::{Result, bail};

use harness::{Effort, Figure};

/// What was asked for on the command line.
struct Wish {
    prefixes: Vec<String>,
    effort: Effort,
    out: PathBuf,
    /// Set in the processes that a group starts: which, and its argument.
    child: Option<(&'static str, String)>,
}

/// A group of figures that are measured together: their common name, and how.
type Group = (&'static str, fn(Effort) -> Result<Vec<Figure>>);

const GROUPS: [Group; 30] = [
    ("algorithms", algorithms::measure),
    ("broadcast", broadcast::measure),
    ("handshake.rate", handshake::measure),
    ("verify.us", verify::measure),
    ("issue.memory", issue::measure),
    ("issue.durable", durable::measure),
    ("join", join::measure),
    ("link", link::measure),
    ("load.peers", load::measure),
    ("memory.idle_link_kib", memory::measure),
    ("mqtt.q", mqtt::measure),
    ("mqtt.durable_q1", mqtt::measure_durable),
    ("mqtt.latency", mqtt::measure_latency),
    ("mqtt.mesh", mqtt::measure_mesh),
    ("mqtt.session_kib", mqtt::measure_sessions),
    ("mqtt.unbatched", mqtt::measure_unbatched),
    ("mqtt.fan", mqtt::measure_fans),
    ("relay", relay::measure),
    ("revoke.cut_ms", cut::measure),
    ("send.durable", send::measure),
    ("send.memory", live::measure),
    ("start.listening_ms", start::measure),
    ("store", store::measure),
    ("sim", sim::measure),
    ("idle", sim::measure_idle),
    ("time.nts_rate", time::measure_rate),
    ("time.ke_rate", time::measure_exchanges),
    ("time.offset_us", time::measure_offset),
    ("time.sim.skew_us", time::measure_skew),
    ("time.idle_percent", time::measure_idle),
];

fn main() -> Result<()> {
    let Some(wish) = Wish::parse(std::env::args().skip(1))? else {
        return report::print(&format!("{}\n", usage()));
    };
    host::random::warm_up()?;
    tls::warm_up()?;
    match &wish.child {
        Some((memory::CHILD, which)) => return memory::child(which),
        Some((sim::CHILD, what)) => return sim::child(what),
        Some((_, count)) => return load::child(count),
        None => {}
    }
    let wanted: Vec<_> = GROUPS.into_iter().filter(|(name, _)| wish.wants(name)).collect();
    if wanted.is_empty() {
        bail!("no figure has a name that begins so; {}", usage());
    }
    let mut failed = Vec::new();
    report::print(report::HEADER)?;
    for (name, measure) in wanted {
        report::say(&format!("measuring {name} …"))?;
        match measure(wish.effort) {
            Ok(mut figures) => {
                figures.iter_mut().for_each(|figure| figure.is_of(name));
                report::write(&wish.out, &figures)?;
            }
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
}

fn usage() -> String {
    let groups = GROUPS.map(|(name, _)| name).join(", ");
    format!("usage: bench all | NAME… [--quick] [--out DIR]; the groups are {groups}")
}

impl Wish {
    /// `None` if only help was asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let out = PathBuf::from("docs");
        let mut wish = Self { prefixes: Vec::new(), effort: Effort::Full, out, child: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "all" => wish.prefixes.push(String::new()),
                "--help" | "-h" => return Ok(None),
                "--quick" => wish.effort = Effort::Quick,
                "--out" => match args.next() {
                    Some(folder) => wish.out = PathBuf::from(folder),
                    None => bail!("--out needs a folder"),
                },
                sim::CHILD => wish.child = args.next().map(|what| (sim::CHILD, what)),
                memory::CHILD => wish.child = args.next().map(|which| (memory::CHILD, which)),
                load::CHILD => wish.child = args.next().map(|count| (load::CHILD, count)),
                flag if flag.starts_with('-') => bail!("unknown option {flag}"),
                prefix => wish.prefixes.push(prefix.to_owned()),
            }
        }
        if wish.prefixes.is_empty() && wish.child.is_none() {
            bail!("{}", usage());
        }
        Ok(Some(wish))
    }

    /// Whether a group has a figure that was asked for; the group is then measured whole, because
    /// its figures are each other's limits.
    fn wants(&self, group: &str) -> bool {
        self.prefixes.iter().any(|prefix| group.starts_with(prefix) || prefix.starts_with(group))
    }
}
