//! `ipam-audit simulate --batch FILE`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::Result;
use ipam_audit_core::batch;

use crate::{OK, USAGE, args::SimulateOptions};

/// Answers every line; a line with an error is answered with it and the rest goes on.
pub(crate) fn run(options: &SimulateOptions) -> Result<u8> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let input: Box<dyn BufRead> = if options.batch == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        match File::open(&options.batch) {
            Ok(file) => Box::new(BufReader::with_capacity(1 << 16, file)),
            Err(error) => {
                eprintln!("ipam-audit: cannot read {}: {error}", options.batch.display());
                return Ok(USAGE);
            }
        }
    };
    let summary = batch::run(input, &mut out)?;
    out.flush()?;
    if summary.errors > 0 {
        eprintln!("ipam-audit: {} of {} lines could not be simulated", summary.errors, summary.lines);
        return Ok(USAGE);
    }
    Ok(OK)
}
