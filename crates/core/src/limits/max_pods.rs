//! The number of pods a node admits, as each producer of that number computes it.
//!
//! They disagree, and none of them looks at what `aws-node` is told to do: that disagreement is what findings are about.
//! The `+ 2` they share stands for the two host-network pods `aws-node` and `kube-proxy`, not for addresses.

use super::InterfaceLimits;

/// Up to this many vCPUs the caps are 110 pods, above 250.
pub const AL2_SMALL_TYPE_VCPUS: u32 = 30;

/// The file `eni-max-pods.txt` of the AMIs and of the CNI: every interface full of secondary addresses.
pub fn classic_eni_max_pods(limits: &InterfaceLimits) -> u32 {
    limits.enis * limits.slots_per_eni() + 2
}

/// The script `max-pods-calculator.sh` of the AL2 AMIs with its options: `MAX_ENI`, custom networking and prefix
/// delegation are known to it, a trunk is not. `vcpus` applies the cap; `None` is its option to show the maximum.
pub fn al2_calculator(
    limits: &InterfaceLimits,
    max_eni: Option<u32>,
    custom_networking: bool,
    prefix_delegation: bool,
    vcpus: Option<u32>,
) -> u32 {
    let enis = max_eni.map_or(limits.enis, |cap| cap.min(limits.enis)).saturating_sub(u32::from(custom_networking));
    let prefixes = prefix_delegation && limits.hypervisor.supports_prefixes();
    let pods = enis * limits.slots_per_eni() * if prefixes { 16 } else { 1 } + 2;
    vcpus.map_or(pods, |vcpus| pods.min(if vcpus > AL2_SMALL_TYPE_VCPUS { 250 } else { 110 }))
}

/// `nodeadm` of the AL2023 AMIs: the classic figure, without a cap.
pub fn nodeadm(limits: &InterfaceLimits) -> u32 {
    classic_eni_max_pods(limits)
}

/// What EKS sets on a managed node group without an own AMI: the classic figure with a cap by size. `None` if the number
/// of vCPUs is exactly 30, where EKS's documents and the calculator differ, and the cap would matter.
pub fn managed_node_group(limits: &InterfaceLimits, vcpus: u32) -> Option<u32> {
    let pods = classic_eni_max_pods(limits);
    match vcpus {
        AL2_SMALL_TYPE_VCPUS if pods > 110 => None,
        0..=AL2_SMALL_TYPE_VCPUS => Some(pods.min(110)),
        _ => Some(pods.min(250)),
    }
}

/// What Karpenter is told about a node class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Karpenter {
    /// `spec.kubelet.maxPods`, which wins.
    pub max_pods: Option<u32>,
    /// `spec.kubelet.podsPerCore`.
    pub pods_per_core: Option<u32>,
    /// The setting `RESERVED_ENIS`, the only way it learns of custom networking, trunks and unmanaged interfaces.
    pub reserved_enis: u32,
    /// EFA-only interfaces on card 0.
    pub efa_only: u32,
    /// Whether the AMI family is limited by interfaces; if not, 110 pods.
    pub eni_limited: bool,
}

/// The pods Karpenter expects of a node; `None` if `podsPerCore` needs the vCPUs and they are unknown.
pub fn karpenter(limits: &InterfaceLimits, class: &Karpenter, vcpus: Option<u32>) -> Option<u32> {
    let pods = match class.max_pods {
        Some(pods) => pods,
        None if class.eni_limited => {
            by_interfaces(limits, limits.enis.saturating_sub(class.reserved_enis + class.efa_only))
        }
        None => 110,
    };
    match class.pods_per_core {
        None | Some(0) => Some(pods),
        Some(per_core) => vcpus.map(|vcpus| pods.min(per_core * vcpus)),
    }
}

/// Without a usable interface Karpenter expects no pods at all, not even the two of the host network.
fn by_interfaces(limits: &InterfaceLimits, enis: u32) -> u32 {
    if enis == 0 { 0 } else { enis * limits.slots_per_eni() + 2 }
}

/// Where ipamd has its number of pods from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpamdMaxPods {
    /// The table in its image.
    File(u32),
    /// The kubelet's general default, because the type is not in the table.
    Default(u32),
}

/// What ipamd takes for the number of pods when it starts without the API server (1.19.4 and later), until it learns the
/// node's capacity.
pub fn ipamd_fallback(limits: Option<&InterfaceLimits>) -> IpamdMaxPods {
    limits.map_or(IpamdMaxPods::Default(110), |limits| IpamdMaxPods::File(classic_eni_max_pods(limits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::lookup;

    fn limits(name: &str) -> InterfaceLimits {
        lookup(name).unwrap().interface_limits()
    }

    #[test]
    fn classic_figures() {
        for (name, pods) in [
            ("t3.micro", 4),
            ("t3.small", 11),
            ("t3.medium", 17),
            ("m5.large", 29),
            ("m5.xlarge", 58),
            ("m4.4xlarge", 234),
            ("c7g.medium", 8),
            ("m6a.32xlarge", 737),
            ("p4d.24xlarge", 737),
            ("p5.48xlarge", 100),
        ] {
            assert_eq!(classic_eni_max_pods(&limits(name)), pods, "{name}");
            assert_eq!(nodeadm(&limits(name)), pods, "{name}");
        }
    }

    #[test]
    fn al2_calculator_knows_its_options() {
        let large = limits("m5.large");
        assert_eq!(al2_calculator(&large, None, false, false, Some(2)), 29);
        assert_eq!(al2_calculator(&large, None, true, false, Some(2)), 20);
        assert_eq!(al2_calculator(&large, Some(2), true, false, Some(2)), 11);
        assert_eq!(al2_calculator(&large, None, false, true, Some(2)), 110);
        assert_eq!(al2_calculator(&large, None, false, true, None), 3 * 9 * 16 + 2);
        assert_eq!(al2_calculator(&limits("m6a.32xlarge"), None, false, false, Some(128)), 250);
        assert_eq!(al2_calculator(&limits("m4.large"), None, false, true, None), 20, "no prefixes on Xen");
    }

    #[test]
    fn managed_node_groups_cap() {
        assert_eq!(managed_node_group(&limits("m5.large"), 2), Some(29));
        assert_eq!(managed_node_group(&limits("m4.4xlarge"), 16), Some(110));
        assert_eq!(managed_node_group(&limits("m6a.32xlarge"), 128), Some(250));
        assert_eq!(managed_node_group(&limits("m4.4xlarge"), 30), None, "sources differ");
    }

    #[test]
    fn karpenter_figures() {
        let class = Karpenter { eni_limited: true, ..Karpenter::default() };
        let large = limits("m5.large");
        assert_eq!(karpenter(&large, &class, None), Some(29));
        assert_eq!(karpenter(&large, &Karpenter { reserved_enis: 2, ..class }, None), Some(11));
        assert_eq!(karpenter(&large, &Karpenter { reserved_enis: 3, ..class }, None), Some(0));
        assert_eq!(karpenter(&large, &Karpenter { max_pods: Some(64), ..class }, None), Some(64));
        assert_eq!(karpenter(&large, &Karpenter::default(), None), Some(110));
        let per_core = Karpenter { pods_per_core: Some(10), ..class };
        assert_eq!(karpenter(&large, &per_core, Some(2)), Some(20));
        assert_eq!(karpenter(&large, &per_core, None), None);
    }

    #[test]
    fn ipamd_without_the_api_server() {
        assert_eq!(ipamd_fallback(Some(&limits("m5.large"))), IpamdMaxPods::File(29));
        assert_eq!(ipamd_fallback(None), IpamdMaxPods::Default(110));
    }
}
