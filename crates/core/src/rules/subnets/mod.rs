//! Rules about subnets and the VPC: codes 1xx.

mod control_plane_low;
mod control_plane_shared;
mod explicit_reservation;
mod fragmented;
mod free_in_reservations;
mod full;
mod low;
mod no_free_prefix;
mod prefixes_unprotected;
mod reservation_full;
mod reservation_intruded;
mod reservation_unused;
mod surge_does_not_fit;
mod words;

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
];
