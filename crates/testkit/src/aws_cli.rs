//! The real AWS CLI, pinned by hashes and installed into the cache the first time it is asked for.

use std::path::PathBuf;

use anyhow::Result;

use crate::venv::Venv;

pub(crate) const VENV: Venv =
    Venv { name: "awscli", requirements: include_str!("../../../tests/awscli/requirements.txt") };

/// The folder that holds `aws`. Blocks: the first time it installs the CLI, from the Python package index.
pub fn folder() -> Result<PathBuf> {
    VENV.programs()
}
