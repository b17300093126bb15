//! Kinds that other programs install: which group they are of, and which of their versions the views understand.

use kube::Resource;

/// A kind that a cluster may have or not.
pub trait Foreign: Resource<DynamicType = ()> {
    /// The versions that the view understands, the preferred one first.
    const VERSIONS: &'static [&'static str];
}

/// Makes a view with a field `metadata` a resource of a group that is not Kubernetes' own.
macro_rules! foreign {
    ($view:ident, $scope:ident, $kind:literal, $plural:literal, $group:literal, [$first:literal $(, $more:literal)*]) => {
        impl kube::Resource for $view {
            type DynamicType = ();
            type Scope = kube::core::$scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $first.into()
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &kube::core::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
                &mut self.metadata
            }
        }

        impl $crate::views::Foreign for $view {
            const VERSIONS: &'static [&'static str] = &[$first $(, $more)*];
        }
    };
}

pub(super) use foreign;
