//! The folder that holds everything of one control plane, removed with it.
//!
//! The owner holds a lock on a file inside, which the kernel releases however the owner ends. A folder that nobody
//! locks is therefore left over from a killed run, and the next start removes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tempfile::TempDir;

const PREFIX: &str = "ipam-audit-controlplane-";
const LOCK: &str = "owner.lock";
/// A folder this young may belong to a run that has created it and not locked it yet.
const SETTLE: Duration = Duration::from_secs(30);

/// A private temporary folder with its owner's lock.
pub(super) struct StateDir {
    // The folder goes first: as long as the lock is held nobody else removes it.
    dir: TempDir,
    _lock: File,
}

impl StateDir {
    /// Removes what killed runs have left, then creates a folder.
    pub(super) fn create() -> Result<Self> {
        sweep(&std::env::temp_dir());
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().context("cannot create a temporary folder")?;
        let lock = File::create(dir.path().join(LOCK)).context("cannot create the lock of the state folder")?;
        lock.try_lock().context("cannot lock the state folder")?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of a file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the folder and returns its path.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.file(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&entry.path()) {
            // Best effort: another run may be sweeping too, and a server that is just being killed may still write.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn is_abandoned(dir: &Path) -> bool {
    match File::open(dir.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(_) => age(dir).is_some_and(|age| age > SETTLE),
    }
}

fn age(path: &Path) -> Option<Duration> {
    SystemTime::now().duration_since(fs::metadata(path).ok()?.modified().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_removes_abandoned_folders_only() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        let abandoned = folder(&format!("{PREFIX}abandoned"));
        drop(File::create(abandoned.join(LOCK)).unwrap());
        let owned = folder(&format!("{PREFIX}owned"));
        let lock = File::create(owned.join(LOCK)).unwrap();
        lock.try_lock().unwrap();
        let starting = folder(&format!("{PREFIX}starting"));
        let foreign = folder("something-else");

        sweep(parent.path());

        assert!(!abandoned.exists());
        assert!(owned.exists() && starting.exists() && foreign.exists());
    }
}
