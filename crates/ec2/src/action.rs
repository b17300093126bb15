//! The actions of EC2 that this crate calls: one list for the budget, the counters and the IAM policy.

/// An action of EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    DescribeVpcs,
    DescribeSubnets,
    DescribeNetworkInterfaces,
    DescribeInstanceTypes,
    GetSubnetCidrReservations,
    DescribeInstances,
    DescribeSecurityGroups,
    DescribeRouteTables,
}

/// How fast an action may be called: so many at once, and so many per second after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) burst: f64,
    pub(crate) per_second: f64,
}

impl Action {
    pub(crate) const ALL: [Self; 8] = [
        Self::DescribeVpcs,
        Self::DescribeSubnets,
        Self::DescribeNetworkInterfaces,
        Self::DescribeInstanceTypes,
        Self::GetSubnetCidrReservations,
        Self::DescribeInstances,
        Self::DescribeSecurityGroups,
        Self::DescribeRouteTables,
    ];

    /// The name that an IAM policy knows it by.
    pub(crate) const fn iam(self) -> &'static str {
        match self {
            Self::DescribeVpcs => "ec2:DescribeVpcs",
            Self::DescribeSubnets => "ec2:DescribeSubnets",
            Self::DescribeNetworkInterfaces => "ec2:DescribeNetworkInterfaces",
            Self::DescribeInstanceTypes => "ec2:DescribeInstanceTypes",
            Self::GetSubnetCidrReservations => "ec2:GetSubnetCidrReservations",
            Self::DescribeInstances => "ec2:DescribeInstances",
            Self::DescribeSecurityGroups => "ec2:DescribeSecurityGroups",
            Self::DescribeRouteTables => "ec2:DescribeRouteTables",
        }
    }

    /// The name that EC2 knows it by.
    pub(crate) fn name(self) -> &'static str {
        self.iam().trim_start_matches("ec2:")
    }

    /// Our share of the account's bucket, which holds 100 calls and refills at 20 per second for everybody in it.
    ///
    /// Reservations get more: they cost one call per subnet, and hardly anybody else asks for them.
    pub(crate) const fn limit(self) -> Limit {
        match self {
            Self::GetSubnetCidrReservations => Limit { burst: 60.0, per_second: 10.0 },
            _ => Limit { burst: 20.0, per_second: 2.0 },
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_an_action_is_its_place_in_the_list() {
        for (place, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action.index(), place);
        }
    }

    #[test]
    fn no_budget_comes_near_that_of_the_account() {
        for limit in Action::ALL.map(Action::limit) {
            assert!(limit.burst <= 60.0 && limit.per_second <= 10.0, "{limit:?}");
        }
    }
}
