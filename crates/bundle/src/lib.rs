//! Bundles: a directory of what `kubectl get … -o json` and `aws ec2 describe-… --output json` print, read into the
//! snapshot that the engine evaluates. An audit without a cluster, and without any credentials.
//!
//! Every file may be absent, broken or cut off: what is lacking is a missing source with the command that makes it, what
//! is broken is a named warning, and everything else is audited. Files are read item by item, so a bundle may be larger
//! than memory. Values of a bundle are never repeated in a message where they could be secret.
//!
//! ```no_run
//! # fn main() -> Result<(), ipam_audit_bundle::BundleError> {
//! let bundle = ipam_audit_bundle::read("incident-4711".as_ref())?;
//! for warning in &bundle.warnings {
//!     eprintln!("{warning}");
//! }
//! println!("as of {} ({})", bundle.snapshot.taken_at, bundle.clock);
//! # Ok(())
//! # }
//! ```

mod clock;
mod cni;
mod ec2;
mod folder;
mod inventory;
mod kubernetes;
mod list;
mod manifest;
mod open;
mod part;
mod stream;
mod wrong;

use std::{
    io,
    path::{Path, PathBuf},
};

use ipam_audit_core::{snapshot::ClusterSnapshot, source::Reading};
use jiff::Timestamp;
use thiserror::Error;

pub use self::{clock::Clock, wrong::Warning};
use self::{folder::Folder, list::Reader, manifest::Manifest, part::Part};

/// A bundle as it was read.
#[derive(Debug)]
pub struct Bundle {
    /// The cluster, as far as the files tell.
    pub snapshot: ClusterSnapshot,
    /// What is not as it should be.
    pub warnings: Vec<Warning>,
    /// Files that are no part of a bundle, and rows of another VPC.
    pub ignored: Vec<String>,
    /// Where the time of the snapshot comes from.
    pub clock: Clock,
    /// The cluster's name, if the manifest says it.
    pub cluster: Option<String>,
    /// The region, if the manifest says it.
    pub region: Option<String>,
}

/// Why a directory is no bundle.
#[derive(Debug, Error)]
pub enum BundleError {
    /// It or a folder in it cannot be listed.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is a file; a bundle is a directory with kubernetes/pods.json, ec2/subnets.json and others", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// None of its files is known.
    #[error(
        "{} has no file of a bundle, such as kubernetes/pods.json (`kubectl get pods -A -o json`) or ec2/subnets.json \
         (`aws ec2 describe-subnets --output json`){hint}",
        path.display()
    )]
    Nothing {
        /// The directory.
        path: PathBuf,
        /// What may have been meant.
        hint: String,
    },
}

/// When each file was taken.
pub(crate) type AsOf<'a> = dyn Fn(Part) -> Timestamp + 'a;

/// Reads a bundle. Fails only where there is none.
pub fn read(dir: &Path) -> Result<Bundle, BundleError> {
    let mut folder = Folder::open(dir)?;
    let manifest = match folder.manifest.take() {
        Some(path) => Manifest::read(&path, &mut folder.warnings),
        None => Manifest::default(),
    };
    let mut reader = Reader::new(folder);
    let (instances, cluster) = kubernetes::read(&mut reader);
    let ec2 = inventory::read(&mut reader, &instances);
    let (taken_at, clock) = match (manifest.taken_at(), reader.newest) {
        (Some(said), _) => (said, Clock::Manifest),
        (None, Some(newest)) => (newest, Clock::NewestObject),
        (None, None) => (Timestamp::now(), Clock::Reading),
    };
    let as_of = |part: Part| manifest.file_taken_at(part).unwrap_or(taken_at);
    let cluster = cluster(&as_of);
    let snapshot = ClusterSnapshot {
        taken_at,
        nodes: cluster.nodes,
        pods: cluster.pods,
        aws_node: cluster.aws_node,
        cni_nodes: cluster.cni_nodes,
        ipamd: Reading::not_collected(),
        objects: cluster.objects,
        ec2: ec2(&as_of),
    };
    let (warnings, ignored) = reader.into_remarks();
    Ok(Bundle { snapshot, warnings, ignored, clock, cluster: manifest.cluster, region: manifest.region })
}
