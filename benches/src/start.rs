//! `start.listening_ms`: from the start of the process `peer run` to its line that it listens.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use shared::name::NodeName;

use crate::harness::{Effort, Figure, Side, take_turns};
use crate::mesh::write_bundle;
use crate::world::World;

/// Measures the group.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let peer = peer_program()?;
    let world = World::new()?;
    let bundle = write_bundle(&world, &NodeName::parse("starter")?)?;
    let mut sides: Vec<Side<'_>> =
        vec![Box::new(|| start(&peer, &bundle)), Box::new(|| version(&peer))];
    let samples = take_turns(effort.pick(5, 40), &mut sides)?;
    let [listening, version] = samples.as_slice() else { bail!("two sides") };
    let what = "the same program printing its version (ms)";
    Ok(vec![
        Figure::new("start.listening_ms", "ms", listening)
            .with_p99(listening)
            .against(what, listening, version),
    ])
}

/// The program beside this one, built from the same tree.
pub(crate) fn peer_program() -> Result<PathBuf> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "-p", "peer", "--bin", "peer"])
            .status()?;
        if !built.success() {
            bail!("the program peer does not build");
        }
    }
    let path = std::env::current_exe()?.with_file_name("peer");
    if !path.exists() {
        bail!("there is no {}; cargo build --release -p peer", path.display());
    }
    Ok(path)
}

fn start(peer: &Path, bundle: &Path) -> Result<f64> {
    let begin = Instant::now();
    let mut child = Command::new(peer)
        .arg("run")
        .arg(bundle)
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line);
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    // Asked to end, so that the next start has nothing to mend.
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM)?;
    child.wait()?;
    read?;
    if !line.contains("listens on") {
        bail!("peer run said {line:?}");
    }
    Ok(ms)
}

fn version(peer: &Path) -> Result<f64> {
    let begin = Instant::now();
    let output = Command::new(peer).arg("--version").output()?;
    if !output.status.success() {
        bail!("peer --version failed");
    }
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}
