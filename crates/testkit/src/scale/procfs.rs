//! What the kernel says of a process: memory and processor time, from outside.

use std::fs;

use anyhow::{Context, Result};

/// Linux counts in hundredths of a second towards programs, whatever the kernel's own clock is.
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: f64 = 1024.0;

/// A process by its id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(pub(super) u32);

impl Process {
    /// Processor time since its start, in seconds: of all its threads, those that have ended included.
    pub(super) fn cpu_seconds(self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The name in parentheses may hold anything; what follows its end are numbers, the state first.
        let numbers = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: Vec<f64> =
            numbers.split_whitespace().skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
        anyhow::ensure!(ticks.len() == 2, "/proc/{}/stat has no processor times", self.0);
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Resident memory now, in MiB.
    pub(super) fn resident(self) -> Result<f64> {
        self.of_status("VmRSS:")
    }

    /// The part of it that no file backs: heap and stacks.
    pub(super) fn anonymous(self) -> Result<f64> {
        self.of_status("RssAnon:")
    }

    /// The most resident memory since the start or since the peak was forgotten, in MiB.
    pub(super) fn peak(self) -> Result<f64> {
        self.of_status("VmHWM:")
    }

    /// From here on the peak counts anew.
    pub(super) fn forget_peak(self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.0);
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }

    fn of_status(self, what: &str) -> Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kib.map(|kib| kib / KIB).with_context(|| format!("/proc/{}/status has no {what}", self.0))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let own = Process(std::process::id());
        let before = own.cpu_seconds().unwrap();
        let mut work = 0_u64;
        while own.cpu_seconds().unwrap() < before + 0.05 {
            work = std::hint::black_box(work.wrapping_add(1));
        }
        let (now, peak) = (own.resident().unwrap(), own.peak().unwrap());
        assert!(now > 1.0 && peak > 1.0 && own.anonymous().unwrap() < now + 1.0, "{now} {peak}");
        own.forget_peak().unwrap();
    }
}
