//! How AWS is reached: in which region, at which endpoint, and as whom.

use aws_config::{SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::region::RegionChoice;

/// How the records of another account name whoever assumes its role, unless the user says otherwise.
const SESSION: &str = "ipam-audit";

/// What the user and the cluster say of the way to EC2; what they do not say comes from the SDK's environment and files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The region.
    pub region: RegionChoice,
    /// Where EC2 is asked. No other service is asked there.
    pub endpoint: Option<String>,
    /// The role to assume.
    pub role: Option<Role>,
}

/// A role to assume, with the credentials of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// How the other account's records name the session.
    pub session_name: Option<String>,
}

impl Role {
    /// The configuration of somebody who has assumed the role. STS is asked once credentials are needed, and again before
    /// they expire.
    pub(crate) async fn assume(&self, config: &SdkConfig) -> SdkConfig {
        let session = self.session_name.as_deref().unwrap_or(SESSION);
        let mut provider = AssumeRoleProvider::builder(&self.arn).session_name(session).configure(config);
        if let Some(id) = &self.external_id {
            provider = provider.external_id(id);
        }
        let provider = SharedCredentialsProvider::new(Box::pin(provider.build()).await);
        config.to_builder().credentials_provider(provider).build()
    }
}
