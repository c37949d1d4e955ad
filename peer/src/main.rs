//! The program `peer`: reads the command line, runs one command, ends with its exit code.
//!
//! **Invariant:** whatever goes wrong ends as one line, a hint and a code.

mod cli;
mod commands;

use std::process::ExitCode;

use host::fault::{Exit, report};

fn main() -> ExitCode {
    let cli = cli::Cli::read();
    match commands::run(&cli) {
        Ok(exit) => exit.into(),
        Err(fault) => {
            report("peer", &fault);
            let exit: Exit = fault.exit();
            exit.into()
        }
    }
}
