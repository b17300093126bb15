//! What EC2 answers when it refuses.

use std::borrow::Cow;

use super::address_book::Refusal;

/// An error reply: HTTP status, EC2's code, a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct ApiError {
    /// HTTP status.
    pub(crate) status: u16,
    /// EC2's error code.
    pub(crate) code: Cow<'static, str>,
    /// The text.
    pub(crate) message: String,
}

impl ApiError {
    /// A refusal of the request itself, status 400.
    pub(crate) fn client(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code: Cow::Borrowed(code), message: message.into() }
    }

    /// `InvalidParameterValue`.
    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterValue", message)
    }

    /// `MissingParameter`.
    pub(crate) fn missing(parameter: &str) -> Self {
        Self::client("MissingParameter", format!("The request must contain the parameter {parameter}"))
    }

    /// `Invalid….NotFound` for an id.
    pub(crate) fn not_found(code: &'static str, what: &str, id: &str) -> Self {
        Self::client(code, format!("The {what} '{id}' does not exist"))
    }

    /// The refusal of an address or prefix that the request named.
    pub(crate) fn named(what: &dyn std::fmt::Display, refusal: Refusal) -> Self {
        let message = format!("{what} {refusal}");
        match refusal {
            Refusal::InUse => Self::client("InvalidIPAddress.InUse", message),
            _ => Self::value(message),
        }
    }

    /// The refusal of addresses of EC2's choice.
    pub(crate) fn no_room(subnet: &str, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fragmented => Self::client(
                "InsufficientCidrBlocks",
                format!("The specified subnet {subnet} does not have enough free cidr blocks to satisfy the request."),
            ),
            _ => Self::client(
                "InsufficientFreeAddressesInSubnet",
                format!("The specified subnet {subnet} does not have enough free addresses to satisfy the request."),
            ),
        }
    }
}
