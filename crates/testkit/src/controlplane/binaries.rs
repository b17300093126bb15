//! Where the control plane's programs come from: `KUBEBUILDER_ASSETS`, else the cache, else `go build` into the cache.
//!
//! The versions are pinned by the Go module in `tests/controlplane`. A cache folder is named after everything that
//! decides what a build gives: `go.mod`, `go.sum` and the version of Go.

use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};

use super::build;

/// The pinned versions, part of this program so that it needs no checkout to run.
pub(super) const GO_MOD: &str = include_str!("../../../../tests/controlplane/go.mod");
pub(super) const GO_SUM: &str = include_str!("../../../../tests/controlplane/go.sum");

const ASSETS: &str = "KUBEBUILDER_ASSETS";
const HOW_TO_GET_GO: &str = "Install Go from https://go.dev/dl/ or your distribution, or set KUBEBUILDER_ASSETS to a \
    folder that holds kube-apiserver, etcd and kubectl (`setup-envtest use` downloads one)";

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// The Go package that it is built from.
    pub(super) package: &'static str,
}

pub(super) const APISERVER: Program =
    Program { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" };
pub(super) const CONTROLLER_MANAGER: Program =
    Program { name: "kube-controller-manager", package: "k8s.io/kubernetes/cmd/kube-controller-manager" };
pub(super) const KUBECTL: Program = Program { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" };
pub(super) const ETCD: Program = Program { name: "etcd", package: "go.etcd.io/etcd/server/v3" };

/// In the order of building: the first pays for what the others share.
pub(super) const ALL: [Program; 4] = [APISERVER, CONTROLLER_MANAGER, KUBECTL, ETCD];

/// A folder that holds the programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Finds the programs, building them if there are none yet (minutes, with progress on stderr).
    ///
    /// # Errors
    /// Says what is missing and how to get it.
    pub fn locate() -> Result<Self> {
        match env::var_os(ASSETS).filter(|dir| !dir.is_empty()) {
            Some(dir) => Self::from_assets(dir.into()),
            None => Self::from_cache(),
        }
    }

    /// The folder with the programs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, program: Program) -> Result<PathBuf> {
        let path = self.dir.join(program.name);
        ensure!(
            path.is_file(),
            "{} is missing in {}; add it there, or unset {ASSETS} to have the pinned version built",
            program.name,
            self.dir.display()
        );
        Ok(path)
    }

    /// A missing file is an error and no reason to build: whoever sets the variable means these programs.
    fn from_assets(dir: PathBuf) -> Result<Self> {
        let assets = Self { dir };
        for program in [APISERVER, ETCD] {
            assets.path(program).with_context(|| format!("{ASSETS} is set but cannot be used"))?;
        }
        Ok(assets)
    }

    fn from_cache() -> Result<Self> {
        let module = build::Module::create()?;
        let cache = cache_root()?.join(cache_key(&go_version(module.dir())?));
        let binaries = Self { dir: cache };
        if !binaries.is_complete() {
            build::build_missing(&module, &binaries.dir)?;
        }
        Ok(binaries)
    }

    fn is_complete(&self) -> bool {
        ALL.iter().all(|program| self.dir.join(program.name).is_file())
    }
}

fn cache_root() -> Result<PathBuf> {
    cache_folder("controlplane")
}

/// The folder of this user's cache that keeps what is dear to make.
pub(crate) fn cache_folder(name: &str) -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: no place to keep what is built")?;
    Ok(cache.join("ipam-audit").join(name))
}

fn cache_key(go_version: &str) -> String {
    let inputs = [GO_MOD, GO_SUM, go_version].join("\0");
    digest(&SHA256, inputs.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

/// The version of Go that would build the module: in its folder, since Go may switch to a newer toolchain for it.
fn go_version(module: &Path) -> Result<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).current_dir(module).output();
    let output = output.with_context(|| {
        format!("the control plane is built from source once, which needs Go, and `go` cannot be run. {HOW_TO_GET_GO}")
    })?;
    let required = required_go().context("go.mod names no Go version")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("the control plane needs Go {required} or newer to build: {reason}. {HOW_TO_GET_GO}");
    }
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        release(version.trim_start_matches("go")) >= release(required),
        "the control plane needs Go {required} or newer to build, and this is {version}. {HOW_TO_GET_GO}"
    );
    Ok(version)
}

fn required_go() -> Option<&'static str> {
    GO_MOD.lines().find_map(|line| line.strip_prefix("go ")).map(str::trim)
}

/// The version of Kubernetes that go.mod pins, such as `v1.36.2`.
pub(super) fn kubernetes_version() -> Option<&'static str> {
    let line = GO_MOD.lines().find(|line| line.trim().starts_with("k8s.io/kubernetes v"))?;
    line.split_whitespace().nth(1)
}

/// Major and minor number; a development build of Go has no number and is taken to be the newest.
fn release(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-', ' ']).map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => (u32::MAX, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_changes_with_the_version_of_go() {
        assert_eq!(cache_key("go1.26.8").len(), 64);
        assert_ne!(cache_key("go1.26.8"), cache_key("go1.26.9"));
    }

    #[test]
    fn the_pins_are_read_from_the_module() {
        assert!(required_go().is_some_and(|version| release(version) >= (1, 26)));
        assert!(kubernetes_version().is_some_and(|version| version.starts_with("v1.")));
    }

    #[test]
    fn releases_compare_by_number() {
        assert!(release("1.9.3") < release("1.26.0"));
        assert!(release("1.27rc1") > release("1.26.0"));
        assert!(release("devel +abc") > release("1.26.0"));
    }

    #[test]
    fn incomplete_assets_name_the_missing_program() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kube-apiserver"), "").unwrap();
        let error = format!("{:#}", Binaries::from_assets(dir.path().into()).unwrap_err());
        assert!(error.contains("etcd is missing in"), "{error}");
        assert!(error.contains(ASSETS), "{error}");
    }
}
