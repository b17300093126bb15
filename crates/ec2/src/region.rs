//! Which region is read.

use aws_config::{
    Region,
    environment::EnvironmentVariableRegionProvider,
    meta::region::{ProvideRegion, RegionProviderChain},
    profile::ProfileFileRegionProvider,
};

/// The region to read, as far as the caller knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionChoice {
    /// What the user states: it goes before everything else.
    pub stated: Option<String>,
    /// Where the nodes are: for when neither the user nor the SDK's environment and files name a region.
    pub of_nodes: Option<String>,
}

impl RegionChoice {
    pub(crate) fn provider(&self) -> RegionProviderChain {
        // The instance's metadata are asked last and only in need: a pod mostly may not, and waits for seconds to learn it.
        let environment = match self.of_nodes {
            Some(_) => RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new()),
            None => RegionProviderChain::default_provider(),
        };
        self.around(environment)
    }

    /// What told the region that was found, in words.
    pub(crate) async fn told_by(&self) -> &'static str {
        if self.stated.is_some() {
            return "spec.aws.region";
        }
        let environment = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new());
        match (environment.region().await, &self.of_nodes) {
            (Some(_), _) => "the environment of the controller",
            (None, Some(_)) => "the zones of the nodes",
            (None, None) => "the metadata of the controller's instance",
        }
    }

    fn around(&self, environment: impl ProvideRegion + 'static) -> RegionProviderChain {
        let region = |name: &Option<String>| name.clone().map(Region::new);
        RegionProviderChain::first_try(region(&self.stated)).or_else(environment).or_else(region(&self.of_nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_goes_before_the_environment_and_that_before_the_nodes() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let name = |name: &str| Some(name.to_owned());
        for (stated, environment, of_nodes, want) in [
            (name("stated"), name("environment"), name("nodes"), name("stated")),
            (None, name("environment"), name("nodes"), name("environment")),
            (None, None, name("nodes"), name("nodes")),
            (None, None, None, None),
        ] {
            let chain = RegionChoice { stated, of_nodes }.around(environment.map(Region::new));
            let region = runtime.block_on(chain.region());
            assert_eq!(region.map(|region| region.to_string()), want);
        }
    }
}
