//! Rules about subnets and the VPC: codes 1xx.

mod addresses_unaccounted;
mod control_plane_low;
mod control_plane_shared;
mod explicit_reservation;
mod fragmented;
mod free_in_reservations;
mod full;
mod ipv6_possible;
mod low;
mod network_address_usage;
mod no_free_prefix;
mod one_zone;
mod prefixes_unprotected;
mod reservation_full;
mod reservation_intruded;
mod reservation_unused;
mod subnet_shared;
mod subnet_small;
mod subnet_unavailable;
mod surge_does_not_fit;
mod vpc;
mod vpc_range_failed;
mod vpc_range_overlap;
mod vpc_ranges_near_quota;
mod vpc_without_room;
mod words;
mod zones_uneven;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &full::SubnetFull,
    &low::SubnetLow,
    &no_free_prefix::NoFreePrefix,
    &fragmented::SubnetFragmented,
    &surge_does_not_fit::SurgeDoesNotFit,
    &free_in_reservations::FreeInReservations,
    &prefixes_unprotected::PrefixesUnprotected,
    &reservation_unused::ReservationUnused,
    &reservation_full::ReservationFull,
    &reservation_intruded::ReservationIntruded,
    &explicit_reservation::ExplicitReservation,
    &control_plane_low::ControlPlaneLow,
    &control_plane_shared::ControlPlaneShared,
    &zones_uneven::ZonesUneven,
    &one_zone::OneZone,
    &subnet_shared::SubnetShared,
    &addresses_unaccounted::AddressesUnaccounted,
    &subnet_small::SubnetSmall,
    &subnet_unavailable::SubnetUnavailable,
    &ipv6_possible::Ipv6Possible,
    &vpc_ranges_near_quota::VpcRangesNearQuota,
    &vpc_without_room::VpcWithoutRoom,
    &network_address_usage::NetworkAddressUsage,
    &vpc_range_overlap::VpcRangeOverlap,
    &vpc_range_failed::VpcRangeFailed,
];
