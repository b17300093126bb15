//! Python environments in the cache, each made once for a version of Python and a set of pinned packages.
//!
//! Two runs never install at the same time (a lock that the kernel releases with its holder), and an environment is
//! used only if its last step, writing a marker, was reached: what a killed run has left is made anew.

use std::env;
use std::fmt::Write;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};

use crate::controlplane::process::{Launch, Supervised};
use crate::controlplane::progress::Progress;

const COMPLETE: &str = "complete";
const OLDEST_PYTHON: (u32, u32) = (3, 11);
const HOW_TO_GET_PYTHON: &str =
    "Install Python 3.11 or newer with its venv module (python3 and python3-venv on Debian and Ubuntu)";
const POLL: Duration = Duration::from_millis(100);

/// What an environment is for, and the pinned packages: part of this program, so that it needs no checkout to run.
pub(crate) struct Venv {
    /// The name in the cache and in messages.
    pub(crate) name: &'static str,
    /// A file of pip, with a version and hashes for every package.
    pub(crate) requirements: &'static str,
}

impl Venv {
    /// The folder of the environment's programs, `python` among them; it is installed first if need be.
    pub(crate) fn programs(&self) -> Result<PathBuf> {
        let target = cache_root()?.join(self.name).join(self.cache_key(system_python()?));
        if !target.join(COMPLETE).is_file() {
            install(self, &target)?;
        }
        Ok(target.join("bin"))
    }

    /// Everything that decides what an installation gives.
    fn cache_key(&self, (major, minor): (u32, u32)) -> String {
        let inputs = format!("{major}.{minor}\n{}", self.requirements);
        let hash = digest(&SHA256, inputs.as_bytes());
        hash.as_ref().iter().take(16).fold(String::new(), |mut key, byte| {
            // Writing to a string cannot fail.
            write!(key, "{byte:02x}").ok();
            key
        })
    }
}

fn install(venv: &Venv, target: &Path) -> Result<()> {
    let name = venv.name;
    let parent = target.parent().context("the cache has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let _lock = lock(name, &target.with_extension("lock"))?;
    if target.join(COMPLETE).is_file() {
        return Ok(());
    }
    if target.exists() {
        fs::remove_dir_all(target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    let mut progress = Progress::start();
    let log = target.with_extension("log");
    let make = ["-m", "venv", &target.display().to_string()].map(str::to_owned).to_vec();
    let what = format!("making a Python environment for {name}");
    run(name, Path::new("python3"), make, &log, || progress.tick(&what))?;
    let requirements = target.join("requirements.txt");
    fs::write(&requirements, venv.requirements).with_context(|| format!("cannot write {}", requirements.display()))?;
    let what = format!("installing {name}, about 10 to 60 seconds");
    run(name, &target.join("bin/python"), pip(&requirements), &log, || progress.tick(&what))?;
    fs::write(target.join(COMPLETE), "").context("cannot mark the environment as complete")?;
    progress.finish(&format!("{name} is installed, in {}", target.display()));
    Ok(())
}

/// Wheels alone: nothing is compiled, and no package's own code runs while it is installed.
fn pip(requirements: &Path) -> Vec<String> {
    let mut args: Vec<String> =
        ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"].map(str::to_owned).to_vec();
    args.extend(["--require-hashes", "--only-binary=:all:", "-r"].map(str::to_owned));
    args.push(requirements.display().to_string());
    args
}

fn run(name: &str, program: &Path, args: Vec<String>, log: &Path, mut tick: impl FnMut()) -> Result<()> {
    let mut child = Supervised::spawn(Launch {
        name: "python3",
        program: program.to_owned(),
        args,
        env: Vec::new(),
        dir: None,
        log: log.to_owned(),
    })?;
    let status = loop {
        match child.exited().context("cannot wait for python3")? {
            Some(status) => break status,
            None => tick(),
        }
        sleep(POLL);
    };
    if !status.success() {
        let output = child.output();
        bail!("{name} could not be installed ({status}). {}\n{}", hint(&output), child.last_lines(15));
    }
    Ok(())
}

/// Waits for a run that is installing already and says so.
fn lock(name: &str, path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut progress = Progress::start();
    let what = format!("another run is installing {name}: waiting for it");
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => progress.tick(&what),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        sleep(POLL);
    }
}

/// What to do about the usual reasons.
fn hint(output: &str) -> &'static str {
    let says = |fragments: &[&str]| fragments.iter().any(|fragment| output.contains(fragment));
    if says(&["ensurepip", "No module named venv", "No module named pip"]) {
        HOW_TO_GET_PYTHON
    } else if says(&[
        "connection broken",
        "ConnectionError",
        "ProxyError",
        "Temporary failure in name resolution",
        "timed out",
    ]) {
        "It needs a Python package index the first time: check the network and `python3 -m pip config list`."
    } else if says(&["DO NOT MATCH THE HASHES"]) {
        "A package is not the one that was pinned: check the package index, and the requirements.txt in tests/."
    } else if says(&["Could not find a version", "No matching distribution"]) {
        "The package index lacks a pinned package, or has no wheel of it for this Python and this machine."
    } else {
        "Its last lines:"
    }
}

/// The version of the `python3` in the path.
fn system_python() -> Result<(u32, u32)> {
    let script = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let output = Command::new("python3").args(["-c", script]).output();
    let output = output.with_context(|| format!("python3 cannot be run. {HOW_TO_GET_PYTHON}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("python3 does not say its version. {HOW_TO_GET_PYTHON}");
    };
    let version = (major, minor);
    ensure!(version >= OLDEST_PYTHON, "python3 is {major}.{minor}, too old for the tests. {HOW_TO_GET_PYTHON}");
    Ok(version)
}

fn cache_root() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: no place for Python environments")?;
    Ok(cache.join("ipam-audit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_belongs_to_one_version_of_python() {
        let venv = Venv { name: "some", requirements: "a==1" };
        assert_eq!(venv.cache_key((3, 11)).len(), 32);
        assert_ne!(venv.cache_key((3, 11)), venv.cache_key((3, 12)));
        let newer = Venv { name: "some", requirements: "a==2" };
        assert_ne!(venv.cache_key((3, 11)), newer.cache_key((3, 11)));
    }

    #[test]
    fn every_package_is_pinned_by_version_and_hash() {
        let venvs = [
            (crate::moto::VENV, "moto==", 100),
            (crate::aws_cli::VENV, "awscli==", 50),
            (crate::telemetry::VENV, "prometheus-client==", 10),
        ];
        for (venv, first, hashes) in venvs {
            let packages: Vec<&str> = venv
                .requirements
                .split("\n\n")
                .flat_map(str::lines)
                .filter(|line| !line.starts_with([' ', '#']) && !line.is_empty())
                .collect();
            assert!(packages.iter().any(|line| line.starts_with(first)), "{packages:?}");
            for package in packages {
                assert!(package.contains("==") && package.ends_with('\\'), "{package}");
            }
            assert!(venv.requirements.matches("--hash=sha256:").count() > hashes);
        }
    }

    #[test]
    fn a_failed_installation_says_what_to_do() {
        assert!(hint("The virtual environment was not created ... ensurepip is not").contains("python3-venv"));
        assert!(hint("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM").contains("pinned"));
        let unreachable =
            "Retrying after connection broken by 'X': /y/\nERROR: No matching distribution found for y==1";
        assert!(hint(unreachable).contains("check the network"));
        assert!(hint("ERROR: No matching distribution found for cffi==2.1.1").contains("wheel"));
    }
}
