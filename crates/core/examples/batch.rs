//! `simulate --batch` without the command line: lines from standard input to standard output.

use std::{
    io::{self, BufReader, BufWriter},
    process::ExitCode,
};

fn main() -> io::Result<ExitCode> {
    let summary = ipam_audit_core::batch::run(BufReader::new(io::stdin()), BufWriter::new(io::stdout()))?;
    Ok(if summary.errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
