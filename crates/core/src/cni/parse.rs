//! Go's number and boolean syntax, which decides what an environment variable means to the CNI.

/// Go's `strconv.Atoi`: an optional sign, then decimal digits, within 64 bits. No spaces, underscores or decimals.
pub(super) fn atoi(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Go's `strconv.ParseBool`: twelve spellings and no others, so `yes`, `on` and the empty string are invalid.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atoi_takes_signs_and_zeros_and_nothing_else() {
        for (text, value) in [("5", 5), ("+5", 5), ("-5", -5), ("007", 7), ("-0", 0), ("9223372036854775807", i64::MAX)]
        {
            assert_eq!(atoi(text), Some(value), "{text:?}");
        }
        for text in ["", " 5", "5 ", "1_000", "5.0", "0x5", "+", "-", "++5", "1e3", "9223372036854775808", "٥", "abc"]
        {
            assert_eq!(atoi(text), None, "{text:?}");
        }
    }

    #[test]
    fn booleans_have_twelve_spellings() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(text), Some(true), "{text:?}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(text), Some(false), "{text:?}");
        }
        for text in ["", "yes", "on", "tRUE", " true", "true ", "2", "Y"] {
            assert_eq!(parse_bool(text), None, "{text:?}");
        }
    }
}
