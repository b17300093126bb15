//! Says on stderr what takes long: one line that updates itself on a terminal, few lines anywhere else.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// How often a log that is not a terminal gets a line.
const SPARSE: Duration = Duration::from_secs(30);

/// The progress of one long step.
pub(crate) struct Progress {
    started: Instant,
    terminal: bool,
    last_line: Option<Instant>,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), terminal: stderr().is_terminal(), last_line: None }
    }

    /// Shows `what` with the time elapsed, if it is time to.
    pub(crate) fn tick(&mut self, what: &str) {
        let elapsed = elapsed(self.started.elapsed());
        if self.terminal {
            write_stderr(&format!("\r\x1b[2K{what} ({elapsed})"));
        } else if self.last_line.is_none_or(|last| last.elapsed() >= SPARSE) {
            write_stderr(&format!("{what} ({elapsed})\n"));
        } else {
            return;
        }
        self.last_line = Some(Instant::now());
    }

    /// Ends with a line that stays.
    pub(crate) fn finish(self, what: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        write_stderr(&format!("{clear}{what} ({})\n", elapsed(self.started.elapsed())));
    }
}

/// Minutes and seconds, as a person writes them.
fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Past the test harness' capture, which would hold the text back until the test has failed.
fn write_stderr(text: &str) {
    // Progress that cannot be shown is no reason to stop.
    stderr().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_time_reads_naturally() {
        assert_eq!(elapsed(Duration::from_secs(59)), "59 s");
        assert_eq!(elapsed(Duration::from_secs(260)), "4 min 20 s");
    }
}
