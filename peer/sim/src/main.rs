//! `sim`: networks of the sizes asked for, and what they did into docs/scale.{json,md,svg}.
//!
//! Each size runs in a process of its own: an allocator does not give back what an earlier one
//! used. A run that measured some sizes replaces those and leaves the others standing; without a
//! size the page and the drawing are made again from the figures.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use sim::scale::{self, Scale};

/// The hidden option of the process that measures one size.
const CHILD: &str = "--measure";

/// What was asked for on the command line.
struct Wish {
    sizes: Vec<usize>,
    seed: u64,
    out: PathBuf,
    child: bool,
}

impl Wish {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let out = PathBuf::from("docs");
        let mut wish = Self { sizes: Vec::new(), seed: 1, out, child: false };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                CHILD => wish.child = true,
                "--seed" => wish.seed = args.next().context("--seed needs a number")?.parse()?,
                "--out" => wish.out = args.next().context("--out needs a folder")?.into(),
                flag if flag.starts_with('-') => bail!("unknown option {flag}"),
                size => wish.sizes.push(size.parse().with_context(|| format!("size {size}"))?),
            }
        }
        if wish.sizes.iter().any(|size| *size < 10) {
            bail!("usage: sim [SIZE…] [--seed N] [--out DIR]; a size is 10 or more");
        }
        Ok(wish)
    }
}

fn main() -> Result<()> {
    let wish = Wish::parse(std::env::args().skip(1))?;
    if wish.child {
        return measure(&wish);
    }
    for size in &wish.sizes {
        let scale = in_a_process(*size, wish.seed)?;
        sim::report::write(&wish.out, &scale)?;
    }
    sim::report::draw_again(&wish.out)?;
    Ok(std::io::stdout().write_all(sim::report::table(&wish.out)?.as_bytes())?)
}

fn measure(wish: &Wish) -> Result<()> {
    let mut talk = std::io::stderr();
    let mut say = |text: &str| {
        // Nobody need listen.
        let _ = writeln!(talk, "{text}");
    };
    let scales: Vec<Scale> =
        wish.sizes.iter().map(|size| scale::measure(*size, wish.seed, &mut say)).collect();
    Ok(serde_json::to_writer(std::io::stdout(), &scales)?)
}

fn in_a_process(size: usize, seed: u64) -> Result<Scale> {
    let (size, seed) = (size.to_string(), seed.to_string());
    let output = Command::new(std::env::current_exe()?)
        .args([CHILD, &size, "--seed", &seed])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("{size} nodes: the simulation did not end well");
    }
    let scales: Vec<Scale> = serde_json::from_slice(&output.stdout)?;
    scales.into_iter().next().context("no figures")
}
