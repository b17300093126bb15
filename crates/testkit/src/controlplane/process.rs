//! A child process that cannot outlive this one.
//!
//! Each child runs in a process group of its own beside a tiny shell that waits on a pipe whose other end only this
//! process holds. However this process ends, `kill -9` included, the kernel closes the pipe and the shell kills the
//! group. Nothing here needs `unsafe`, a signal handler, or the thread that started the child to live on.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};

/// The child keeps the shell's process id (`exec`), which leads the group; the waiting half is a copy in that group.
const LIFELINE: &str = r#"exec 3<&0 </dev/null
(read -r _ <&3; kill -KILL -$$) 2>/dev/null &
exec 3<&-
exec "$@""#;

/// What to run: a program, its arguments, its additional environment and the file that receives its output.
pub(crate) struct Launch {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) log: PathBuf,
}

/// A running child; killed with its whole process group when dropped or when this process ends.
pub(crate) struct Supervised {
    name: &'static str,
    child: Child,
    lifeline: Option<ChildStdin>,
    log: PathBuf,
    log_start: u64,
}

impl Supervised {
    pub(crate) fn spawn(launch: Launch) -> Result<Self> {
        let Launch { name, program, args, env, dir, log } = launch;
        let out = OpenOptions::new().create(true).append(true).open(&log);
        let out = out.with_context(|| format!("cannot write the log of {name}, {}", log.display()))?;
        let log_start = out.metadata().map_or(0, |m| m.len());
        let mut command = Command::new("sh");
        command.arg("-c").arg(LIFELINE).arg("lifeline").arg(&program).args(args).envs(env).process_group(0);
        command.stdin(Stdio::piped()).stdout(out.try_clone()?).stderr(out);
        if let Some(dir) = dir {
            command.current_dir(dir);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {name} ({})", program.display()))?;
        let lifeline = child.stdin.take();
        Ok(Self { name, child, lifeline, log, log_start })
    }

    /// The exit status, if the child has ended by itself.
    pub(crate) fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The child's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the child has written so far, without the output of earlier children that shared its log.
    pub(crate) fn output(&self) -> String {
        read_from(&self.log, self.log_start).unwrap_or_default()
    }

    /// The last lines of the child's output, for an error message.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Sends the child alone a signal by its name, `STOP` for example.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        let sent = sent.context("cannot run kill")?;
        ensure!(sent.success(), "{} cannot be sent SIG{signal}", self.name);
        Ok(())
    }

    /// Kills the child and whatever it started, and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        // An error means that the child has ended already: the wait below reaps it.
        self.child.kill().ok();
        self.child.wait().ok();
        // Closing the pipe ends the waiting shell and any grandchild of the group.
        self.lifeline = None;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

fn read_from(path: &Path, start: u64) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
    Ok(String::from_utf8_lossy(&bytes[start..]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn launch(dir: &Path, script: &str) -> Launch {
        Launch {
            name: "test child",
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GREETING", "hello".into())],
            dir: None,
            log: dir.join("child.log"),
        }
    }

    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "timed out: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn output_and_exit_status_are_those_of_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Supervised::spawn(launch(dir.path(), "echo $GREETING; exit 3")).unwrap();
        wait_for("the child to end", || child.exited().unwrap().is_some());
        assert_eq!(child.exited().unwrap().unwrap().code(), Some(3));
        assert_eq!(child.last_lines(5), "hello");
    }

    #[test]
    fn stopping_kills_grandchildren_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Supervised::spawn(launch(dir.path(), "sleep 600 & echo $!; wait")).unwrap();
        wait_for("the grandchild's id", || child.output().ends_with('\n'));
        let grandchild = child.output().trim().to_owned();
        child.stop();
        wait_for("the grandchild to end", || !is_alive(&grandchild));
    }

    fn is_alive(pid: &str) -> bool {
        let output = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
        let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        !state.is_empty() && !state.starts_with('Z')
    }
}
