//! Durations as users write and read them: `60s`, `1h30m`.

use std::time::Duration;

/// Reads a duration of seconds, minutes and hours. None if it is not one, or longer than can be counted.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

/// How long something took, in the two largest units: `42s`, `14m`, `2h5m`, `3d4h`.
pub(crate) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)];
    let Some(at) = units.iter().position(|(_, size)| seconds >= *size) else { return "0s".to_owned() };
    let (unit, size) = units[at];
    // Seconds beside minutes are noise.
    let second =
        units.get(at + 1).filter(|(unit, _)| *unit != "s").map(|(unit, smaller)| (unit, seconds % size / smaller));
    match second {
        Some((lesser, number @ 1..)) => format!("{}{unit}{number}{lesser}", seconds / size),
        _ => format!("{}{unit}", seconds / size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_users_write_them() {
        for (text, seconds) in [("60s", Some(60)), ("5m", Some(300)), ("1h30m", Some(5400)), ("0s", Some(0))] {
            assert_eq!(parse(text).map(|duration| duration.as_secs()), seconds, "{text}");
        }
        for text in ["", "5", "m", "5x", "-5m", "1.5h", "5 m", "99999999999999999999h", "5m3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_said_in_two_units_at_most() {
        for (seconds, text) in
            [(0, "0s"), (42, "42s"), (851, "14m"), (3600, "1h"), (7500, "2h5m"), (86_400 + 60, "1d"), (273_600, "3d4h")]
        {
            assert_eq!(spoken(Duration::from_secs(seconds)), text);
        }
    }
}
