//! `ipam-audit simulate --batch`: JSON lines in, JSON lines out, one simulated node each.
//!
//! Planners script this, so the interface is fixed (`docs/simulate.md`) and every answer is a function of its line alone.
//! A line that cannot be simulated answers with its number and reason, and the others go on.

mod error;
mod input;
mod json;
mod output;

use std::io::{self, BufRead, Write};

pub use error::ErrorCode;

use crate::ipamd;
use error::LineError;
use input::Request;

/// The answer to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One JSON object, without a line end.
    pub json: String,
    /// Why the line could not be simulated, if so.
    pub error: Option<ErrorCode>,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines answered; blank ones are not.
    pub lines: u64,
    /// Lines among them that could not be simulated.
    pub errors: u64,
}

/// Answers each line of `reader` with a line of `writer`, in order.
pub fn run(mut reader: impl BufRead, mut writer: impl Write) -> io::Result<Summary> {
    let mut summary = Summary::default();
    let mut line = Vec::new();
    let mut number = 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let text = line.trim_ascii();
        if !text.is_empty() {
            let answer = match std::str::from_utf8(text) {
                Ok(text) => simulate_line(number, text),
                Err(error) => refuse(number, None, &LineError::new(ErrorCode::BadJson, error.to_string())),
            };
            writer.write_all(answer.json.as_bytes())?;
            writer.write_all(b"\n")?;
            summary.lines += 1;
            summary.errors += u64::from(answer.error.is_some());
        }
        line.clear();
    }
    writer.flush()?;
    Ok(summary)
}

/// Answers one line; `number` is its place in the file, from 1.
pub fn simulate_line(number: u64, text: &str) -> Answer {
    let json = match json::parse(text) {
        Ok(json) => json,
        Err(error) => return refuse(number, None, &error),
    };
    match Request::read(&json) {
        Ok(request) => {
            let outcome = ipamd::simulate(&request.node(), &request.story());
            Answer { json: output::outcome(request.id, request.label, &outcome), error: None }
        }
        Err(error) => refuse(number, input::readable_id(&json), &error),
    }
}

fn refuse(number: u64, id: Option<&str>, error: &LineError) -> Answer {
    Answer { json: output::error(number, id, error), error: Some(error.code) }
}
