//! Comparing with what is documented, except where a difference is known.

use std::fmt::Debug;

use crate::differences::{DIFFERENCES, Difference};
use crate::rig::{Actor, Ec2};

/// The observations of one case on one implementation.
pub(crate) struct Check {
    case: &'static str,
    actor: Actor,
    seen: Vec<&'static str>,
    wrong: Vec<String>,
}

impl Check {
    pub(crate) fn new(case: &'static str, ec2: &Ec2) -> Self {
        Self { case, actor: ec2.actor, seen: Vec::new(), wrong: Vec::new() }
    }

    /// Compares one aspect: equal unless listed as a difference, and listed only if it differs.
    #[expect(clippy::needless_pass_by_value, reason = "a line per aspect reads better without ampersands")]
    pub(crate) fn expect<T: Debug + PartialEq<W>, W: Debug>(&mut self, aspect: &'static str, got: T, documented: W) {
        self.seen.push(aspect);
        match (got == documented, self.listed().find(|one| one.aspect == aspect)) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => self.wrong.push(format!("{aspect}: got {got:?}, documented is {documented:?}")),
            (true, Some(one)) => self
                .wrong
                .push(format!("{aspect}: is as documented, so the listed difference is gone ({})", one.reason)),
        }
    }

    fn listed(&self) -> impl Iterator<Item = &'static Difference> + use<> {
        let (case, actor) = (self.case, self.actor);
        DIFFERENCES.iter().filter(move |one| one.case == case && one.actor == actor)
    }

    /// Fails if anything was not as expected, or if a listed difference was not looked at.
    pub(crate) fn finish(mut self) {
        for unseen in self.listed().filter(|one| !self.seen.contains(&one.aspect)).collect::<Vec<_>>() {
            self.wrong.push(format!("{}: is listed as a difference but no aspect of the case", unseen.aspect));
        }
        assert!(self.wrong.is_empty(), "{} on {:?}:\n  {}", self.case, self.actor, self.wrong.join("\n  "));
    }
}
