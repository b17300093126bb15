//! Why there is nothing to sign with, told apart by what a user can do about it.

use std::{error::Error, io};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::ConnectorError;
use ipam_audit_core::source::FaultCategory;

/// Why there are no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Nothing in the environment or its files names any.
    Unnamed,
    /// The file with the pod's token cannot be read.
    Token,
    /// Whoever gives them does not answer.
    Silence,
    /// Whoever gives them refuses.
    Refusal,
    /// A role was to be assumed, and there are none to assume it with: they were refused.
    OwnRefusal,
}

impl Lack {
    /// What an error says of credentials, if it is about them, and the innermost error.
    pub(crate) fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<(Self, &'a (dyn Error + 'static))> {
        let mut about = chain(error).filter_map(|error| error.downcast_ref::<CredentialsError>());
        let outer = about.next()?;
        // A role that is assumed has credentials below it, and the failure may be theirs.
        let below = about.last();
        let inner = below.unwrap_or(outer);
        let cause = chain(inner).last()?;
        let lack = if matches!(inner, CredentialsError::CredentialsNotLoaded(_)) {
            Self::Unnamed
        } else if inner.source().is_some_and(<dyn Error>::is::<io::Error>) {
            // Nothing else is read as it is: of other files the SDK says in its own words what is wrong with them.
            Self::Token
        } else if chain(inner).any(is_silence) {
            Self::Silence
        } else if below.is_some() {
            Self::OwnRefusal
        } else {
            Self::Refusal
        };
        Some((lack, cause))
    }

    pub(crate) fn category(self) -> FaultCategory {
        match self {
            Self::Silence => FaultCategory::Unreachable,
            Self::Unnamed | Self::Token | Self::Refusal | Self::OwnRefusal => FaultCategory::Credentials,
        }
    }

    /// In words, for somebody who may have wanted a role to be assumed.
    pub(crate) fn message(self, role: Option<&str>, cause: &str) -> String {
        match (self, role) {
            (Self::Unnamed, _) => format!(
                "no credentials: give the ServiceAccount a role (IRSA or EKS Pod Identity) whose trust policy names it, \
                 or set AWS_PROFILE outside a cluster ({cause})"
            ),
            (Self::Token, _) => format!(
                "no credentials: the ServiceAccount's token cannot be read from the file that AWS_WEB_IDENTITY_TOKEN_FILE \
                 (IRSA) or AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE (EKS Pod Identity) names: check that the pod has this file \
                 and may read it ({cause})"
            ),
            (Self::Silence, _) => format!(
                "no credentials: there is no answer from where they are given, which is STS (IRSA, a role to assume) or the \
                 agent of EKS Pod Identity: check the region, DNS, network policies and, in a private cluster, the VPC \
                 endpoint for sts ({cause})"
            ),
            (Self::Refusal, Some(role)) => format!(
                "{role} cannot be assumed: its trust policy has to allow the role that ipam-audit runs as, with the external \
                 id of spec.aws.assumeRole if it asks for one, and the latter role needs sts:AssumeRole on it ({cause})"
            ),
            (Self::Refusal, None) | (Self::OwnRefusal, _) => format!(
                "no credentials, they are refused: check that the role of the ServiceAccount exists, and that its trust \
                 policy (IRSA) or an association of the cluster (EKS Pod Identity) names the ServiceAccount ({cause})"
            ),
        }
    }
}

/// An error and whatever it was caused by.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_silence(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<ConnectorError>().is_some_and(|error| error.is_io() || error.is_timeout())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws-cn:iam::444455556666:role/ipam-audit";

    fn lack(error: &CredentialsError) -> (Lack, String) {
        let (lack, cause) = Lack::of(error).unwrap();
        (lack, cause.to_string())
    }

    fn connector(error: ConnectorError) -> CredentialsError {
        CredentialsError::provider_error(error)
    }

    #[test]
    fn each_reason_is_told_from_the_others() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        for (error, want, cause) in [
            (CredentialsError::not_loaded("nothing is set"), Lack::Unnamed, "nothing is set"),
            (CredentialsError::provider_error(gone()), Lack::Token, "entity not found"),
            (connector(ConnectorError::io("refused".into())), Lack::Silence, "refused"),
            (connector(ConnectorError::timeout("late".into())), Lack::Silence, "late"),
            (connector(ConnectorError::user("no such name".into())), Lack::Refusal, "no such name"),
            (CredentialsError::provider_error("AccessDenied"), Lack::Refusal, "AccessDenied"),
            (CredentialsError::invalid_configuration("a loop"), Lack::Refusal, "a loop"),
        ] {
            assert_eq!(lack(&error), (want, cause.to_owned()));
        }
        assert!(Lack::of(&gone()).is_none(), "not about credentials");
    }

    #[test]
    fn what_is_below_a_role_that_is_assumed_decides_and_the_role_is_not_blamed() {
        let gone = io::Error::from(io::ErrorKind::NotFound);
        for (below, want) in [
            (CredentialsError::not_loaded("nothing is set"), Lack::Unnamed),
            (CredentialsError::provider_error(gone), Lack::Token),
            (connector(ConnectorError::io("refused".into())), Lack::Silence),
            (CredentialsError::provider_error("AccessDenied"), Lack::OwnRefusal),
        ] {
            // The SDK reports it as a request that could not be sent.
            let sent = ConnectorError::other(below.into(), None);
            let (lack, _) = lack(&connector(sent));
            assert_eq!(lack, want);
            assert!(!lack.message(Some(ROLE), "x").contains(ROLE));
        }
        assert!(Lack::Refusal.message(Some(ROLE), "x").starts_with(&format!("{ROLE} cannot be assumed: ")));
    }

    #[test]
    fn only_silence_may_pass_by_itself() {
        for lack in [Lack::Unnamed, Lack::Token, Lack::Refusal, Lack::OwnRefusal] {
            assert_eq!(lack.category(), FaultCategory::Credentials);
            assert!(
                lack.message(None, "why").starts_with("no credentials") && lack.message(None, "why").ends_with("(why)")
            );
        }
        assert_eq!(Lack::Silence.category(), FaultCategory::Unreachable);
    }
}
