//! Two machines and the wire between them: two network namespaces and a veth pair.
//!
//! **Invariant:** the namespaces do not outlive the [`Wire`], and what is in them is in no other.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

/// The two ends; addresses are those for benchmarks (RFC 2544).
pub(crate) struct Wire {
    ends: [Place; 2],
}

/// Where a server runs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) address: &'static str,
    /// The namespace; none is this machine's own.
    space: Option<String>,
}

impl Place {
    /// This machine, for itself alone.
    pub(crate) const fn here() -> Self {
        Self { address: "127.0.0.1", space: None }
    }

    /// Whether others than those in it can reach what runs there.
    pub(crate) const fn is_apart(&self) -> bool {
        self.space.is_some()
    }

    /// A program that is to run there.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let Some(space) = &self.space else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", space]).arg(program);
        command
    }
}

impl Wire {
    /// Lays it; needs root.
    pub(crate) fn lay() -> Result<Self> {
        let stem = format!("bench{}", std::process::id());
        let end = |name, address| Place { address, space: Some(format!("{stem}-{name}")) };
        let wire = Self { ends: [end("a", "198.18.0.1"), end("b", "198.18.0.2")] };
        for Place { address, space } in &wire.ends {
            let space = space.as_deref().unwrap_or_default();
            ip(&format!("netns add {space}"))?;
            ip(&format!("-n {space} link set lo up"))?;
            if *address == wire.ends[0].address {
                ip(&format!("-n {space} link add wire type veth peer name eriw"))?;
            } else {
                let first = wire.ends[0].space.as_deref().unwrap_or_default();
                ip(&format!("-n {first} link set eriw netns {space} name wire"))?;
            }
        }
        for Place { address, space } in &wire.ends {
            let space = space.as_deref().unwrap_or_default();
            ip(&format!("-n {space} addr add {address}/30 dev wire"))?;
            ip(&format!("-n {space} link set wire up"))?;
        }
        Ok(wire)
    }

    /// Its ends.
    pub(crate) const fn ends(&self) -> &[Place; 2] {
        &self.ends
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for space in self.ends.iter().filter_map(|end| end.space.as_ref()) {
            // It may not have come so far.
            let _ = ip(&format!("netns del {space}"));
        }
    }
}

fn ip(line: &str) -> Result<()> {
    let status = Command::new("ip").args(line.split(' ')).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "ip {line}");
    Ok(())
}
