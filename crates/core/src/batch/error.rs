//! Why a line cannot be simulated.

/// The kind of an error, as the interface names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The line is not JSON.
    BadJson,
    /// A field that does not exist.
    UnknownField,
    /// A required field is absent.
    MissingField,
    /// A wrong type, a value out of range, or values that contradict each other.
    BadValue,
    /// The instance type is not in the table.
    UnknownInstanceType,
    /// Something real that is not modelled.
    Unsupported,
}

impl ErrorCode {
    /// The word in the output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad-json",
            Self::UnknownField => "unknown-field",
            Self::MissingField => "missing-field",
            Self::BadValue => "bad-value",
            Self::UnknownInstanceType => "unknown-instance-type",
            Self::Unsupported => "unsupported",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct LineError {
    pub code: ErrorCode,
    pub message: String,
}

impl LineError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadValue, message)
    }
}
