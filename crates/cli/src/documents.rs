//! Commands that only print: what an installer needs, and what a finding means.

use std::io::{self, Write};

use anyhow::Result;
use ipam_audit_api::crd;
use ipam_audit_core::{
    rights,
    rules::{self, Rule},
    text::edits,
};

use crate::{
    OK, USAGE,
    args::{ExplainOptions, RightsOptions},
};

/// Prints the page of one finding, or the list of all.
pub(crate) fn explain(options: &ExplainOptions) -> Result<u8> {
    let Some(wanted) = &options.code else {
        return print(&ipam_audit_report::catalogue());
    };
    if let Some(meta) = rules::find(wanted) {
        return print(&ipam_audit_report::explain(meta));
    }
    match nearest(wanted) {
        Some(near) => eprintln!("ipam-audit: no finding is called `{wanted}`; did you mean {near}?"),
        None => eprintln!("ipam-audit: no finding is called `{wanted}`; `ipam-audit explain` lists them"),
    }
    Ok(USAGE)
}

/// Prints all CRDs as one YAML stream.
pub(crate) fn crds() -> Result<u8> {
    let documents: Vec<String> = crd::all_crds().iter().map(crd::to_yaml).collect::<Result<_, _>>()?;
    print(&documents.join("---\n"))
}

/// Prints the namespace, the account and the roles, as `deploy/` ships them.
pub(crate) fn rbac(options: &RightsOptions) -> Result<u8> {
    print(&rights::rbac(&options.with))
}

/// Prints the IAM policy, as `deploy/` ships it.
pub(crate) fn iam_policy(options: &RightsOptions) -> Result<u8> {
    print(&rights::iam_policy(&options.with)?)
}

fn print(text: &str) -> Result<u8> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(OK)
}

/// The code or name with the fewest edits, if it is near enough to be meant.
fn nearest(wanted: &str) -> Option<&'static str> {
    let wanted = wanted.to_ascii_lowercase();
    let metas = rules::all().map(Rule::meta);
    let candidates = metas.flat_map(|meta| [meta.code, meta.name]);
    candidates
        .map(|candidate| (edits(&wanted, &candidate.to_ascii_lowercase()), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        assert_eq!(nearest("subnet-ful"), Some("subnet-full"));
        assert_eq!(nearest("IPAM1O1"), Some("IPAM101"));
        assert_eq!(nearest("coffee"), None);
    }
}
