//! What the kernel says of this process, under the names that every exporter uses.

use std::fmt;

use super::out::Out;

/// Ticks of the clock in which `/proc` counts: one value on every architecture that Linux still runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures of this process; what the kernel does not say is none.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    resident: Option<f64>,
    virtual_memory: Option<f64>,
    cpu_seconds: Option<f64>,
    started: Option<f64>,
    threads: Option<f64>,
}

/// Writes `process_…`.
pub(super) fn write(out: &mut Out<'_, '_>) -> fmt::Result {
    let figures = Figures::read();
    let mut gauge = |name, help, value: Option<f64>| out.gauge(name, help, value.map(|value| ([], value)));
    gauge("process_resident_memory_bytes", "Memory of this process that is in RAM", figures.resident)?;
    gauge("process_virtual_memory_bytes", "Address space of this process", figures.virtual_memory)?;
    gauge("process_start_time_seconds", "When this process started, in seconds since 1970", figures.started)?;
    gauge("process_threads", "Threads of this process", figures.threads)?;
    gauge("process_open_fds", "Open files and connections of this process", open_files())?;
    out.counter_of_seconds("process_cpu_seconds", "CPU time that this process took", figures.cpu_seconds)
}

#[expect(clippy::cast_precision_loss, reason = "files are few")]
fn open_files() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

impl Figures {
    fn read() -> Self {
        let file = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&file("/proc/self/stat"), &file("/proc/self/status"), &file("/proc/stat"))
    }

    fn parse(stat: &str, status: &str, of_machine: &str) -> Self {
        // The name of the program is in brackets and may hold anything, brackets too.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        // Fields are counted from 1 in the manual, and the third is the first behind the name.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = |number| Some(field(number)? / TICKS_PER_SECOND);
        let kilobytes = |name| Some(line(status, name)?.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0);
        let booted = || line(of_machine, "btime ")?.trim().parse::<f64>().ok();
        Self {
            resident: kilobytes("VmRSS:"),
            virtual_memory: kilobytes("VmSize:"),
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            started: booted().zip(ticks(22)).map(|(booted, after)| booted + after),
            threads: field(20),
        }
    }
}

/// What follows a word at the beginning of a line.
fn line<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4242 (odd ) name) S 1 4242 4242 0 -1 4194560 5000 0 7 0 150 50 0 0 20 0 9 0 123400 1 2";

    #[test]
    fn figures_are_read_from_what_the_kernel_prints() {
        let figures =
            Figures::parse(STAT, "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t    64 kB\n", "cpu 1 2\nbtime 1000\n");
        let expected = Figures {
            resident: Some(65_536.0),
            virtual_memory: Some(2_097_152.0),
            cpu_seconds: Some(2.0),
            started: Some(2234.0),
            threads: Some(9.0),
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_zero() {
        assert_eq!(Figures::parse("", "", ""), Figures::default());
        let own = Figures::read();
        assert!(own.resident.is_some_and(|bytes| bytes > 100_000.0), "{own:?}");
        assert!(own.started.is_some_and(|at| at > 1_600_000_000.0) && own.cpu_seconds.is_some(), "{own:?}");
        assert!(open_files() > Some(2.0));
    }
}
