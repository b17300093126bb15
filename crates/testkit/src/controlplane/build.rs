//! Builds the control plane's programs from the pinned Go module into the cache.
//!
//! Two runs never build at the same time (a lock that the kernel releases with its holder), a program appears in the
//! cache complete or not at all (built under another name, then renamed), and a killed run takes its build with it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::binaries::{ALL, GO_MOD, GO_SUM, Program, kubernetes_version};
use super::process::{Launch, Supervised};
use super::progress::Progress;

const POLL: Duration = Duration::from_millis(250);
const UNFINISHED: &str = ".unfinished-";

/// The Go module on disk, for as long as this lives.
pub(super) struct Module {
    dir: TempDir,
}

impl Module {
    pub(super) fn create() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("ipam-audit-go-").tempdir().context("cannot create a folder")?;
        fs::write(dir.path().join("go.mod"), GO_MOD).context("cannot write go.mod")?;
        fs::write(dir.path().join("go.sum"), GO_SUM).context("cannot write go.sum")?;
        Ok(Self { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Builds every program that `target` lacks.
pub(super) fn build_missing(module: &Module, target: &Path) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("cannot create {}", target.display()))?;
    let _lock = lock(&target.join("build.lock"))?;
    remove_unfinished(target);
    let missing: Vec<Program> = ALL.into_iter().filter(|program| !target.join(program.name).is_file()).collect();
    let mut progress = Progress::start();
    for (index, program) in missing.iter().enumerate() {
        let step = format!(
            "building {} ({} of {}), about 4 to 8 minutes for all the first time",
            program.name,
            index + 1,
            missing.len()
        );
        build(module, *program, target, || progress.tick(&step))?;
    }
    progress.finish(&format!("the control plane is built, in {}", target.display()));
    Ok(())
}

/// Waits for a run that is building already and says so.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut progress = Progress::start();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => progress.tick("another run is building the control plane: waiting for it"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        sleep(POLL);
    }
}

/// What a killed build has left. The caller holds the lock, so that no build is under way.
fn remove_unfinished(target: &Path) {
    let entries = fs::read_dir(target).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        // A file that cannot be removed is overwritten by the build or makes that fail with a better message.
        fs::remove_file(entry.path()).ok();
    }
}

fn build(module: &Module, program: Program, target: &Path, mut tick: impl FnMut()) -> Result<()> {
    let unfinished = target.join(format!("{UNFINISHED}{}", program.name));
    let mut go = Supervised::spawn(go_build(module, program, &unfinished)?)?;
    let status = loop {
        match go.exited().context("cannot wait for go build")? {
            Some(status) => break status,
            None => tick(),
        }
        sleep(POLL);
    };
    if !status.success() {
        bail!("go build of {} failed ({status}). {}\n{}", program.name, hint(&go.output()), go.last_lines(15));
    }
    fs::rename(&unfinished, target.join(program.name)).context("cannot move the built program into the cache")
}

fn go_build(module: &Module, program: Program, output: &Path) -> Result<Launch> {
    let args = ["build", "-mod=readonly", "-trimpath", "-ldflags", &ldflags()?, "-o"];
    let mut args: Vec<String> = args.map(str::to_owned).to_vec();
    args.push(output.display().to_string());
    args.push(program.package.to_owned());
    Ok(Launch {
        name: "go build",
        program: PathBuf::from("go"),
        args,
        env: vec![("CGO_ENABLED", "0".to_owned())],
        dir: Some(module.dir().to_owned()),
        log: module.dir().join(format!("{}.log", program.name)),
    })
}

/// Without these the servers call themselves v0.0.0-master.
fn ldflags() -> Result<String> {
    let version = kubernetes_version().context("go.mod does not pin k8s.io/kubernetes")?;
    let numbers: Vec<&str> = version.trim_start_matches('v').split('.').collect();
    ensure!(numbers.len() == 3, "go.mod pins k8s.io/kubernetes at {version}, which is no release");
    let base = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {base}.gitVersion={version} -X {base}.gitMajor={} -X {base}.gitMinor={} \
         -X k8s.io/client-go/pkg/version.gitVersion={version}",
        numbers[0], numbers[1]
    ))
}

/// What to do about the usual reasons.
fn hint(output: &str) -> &'static str {
    let says = |fragments: &[&str]| fragments.iter().any(|fragment| output.contains(fragment));
    if says(&["no space left"]) {
        "The disk is full: the build needs about 4 GB in Go's caches and 300 MB for the programs."
    } else if says(&["dial tcp", "no such host", "i/o timeout", "proxyconnect", "connection refused", "TLS handshake"])
    {
        "It needs a Go module proxy the first time: check the network and `go env GOPROXY`."
    } else if says(&["signal: killed", "cannot allocate memory"]) {
        "It was short of memory: the build takes about 2.2 GB."
    } else {
        "Its last lines:"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_stamped_with_the_pinned_version() {
        let flags = ldflags().unwrap();
        assert!(flags.contains("component-base/version.gitMajor=1 "), "{flags}");
        assert!(flags.contains(&format!("gitVersion={}", kubernetes_version().unwrap())), "{flags}");
    }

    #[test]
    fn a_second_builder_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("build.lock");
        let first = lock(&path).unwrap();
        let second = std::thread::spawn({
            let path = path.clone();
            move || lock(&path).map(drop)
        });
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn a_failed_build_says_what_to_do() {
        assert!(hint("dial tcp: lookup proxy.golang.org: no such host").contains("GOPROXY"));
        assert!(hint("write /tmp/x: no space left on device").contains("disk is full"));
    }
}
