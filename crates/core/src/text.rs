//! Numbers and lists as people read them. Every message of the engine goes through here, so that a number has its
//! separators and a noun its number everywhere.

use jiff::SignedDuration;

/// A number with separators: `11,439`.
pub fn thousands(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    if digits.len() <= 3 {
        return digits;
    }
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    push_separated(&mut text, &digits);
    text
}

fn push_separated(text: &mut String, digits: &str) {
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
}

/// A number that may be unknown: `11,439` or `?`.
pub fn known(number: Option<u32>) -> String {
    number.map_or_else(|| "?".to_owned(), thousands)
}

/// A counted noun: `1 pod`, `14 pods`, `2 addresses`.
pub fn count(number: u32, noun: &str) -> String {
    // Nearly every message has one: its letters are put down once, without a formatter.
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + " ".len() + noun.len() + "es".len());
    push_separated(&mut text, &digits);
    text.push(' ');
    text.push_str(noun);
    text.push_str(ending(number, noun));
    text
}

/// A noun in its number: `pod`, `pods`, `addresses`, `prefixes`.
pub fn plural(number: u32, noun: &str) -> String {
    [noun, ending(number, noun)].concat()
}

fn ending(number: u32, noun: &str) -> &'static str {
    match (number, noun.ends_with(['s', 'x'])) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    }
}

/// The verb of a counted subject: `1 node holds`, `2 nodes hold`.
pub fn verb<'a>(number: u32, singular: &'a str, plural: &'a str) -> &'a str {
    if number == 1 { singular } else { plural }
}

/// A list in a sentence: `a`, `a and b`, `a, b and c`, and no more than `most` of them by name.
pub fn list(items: &[String], conjunction: &str, most: usize) -> String {
    let hidden = items.len().saturating_sub(most);
    let mut shown: Vec<String> = items.iter().take(most).cloned().collect();
    if hidden > 0 {
        shown.push(format!("{hidden} more"));
    }
    match shown.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
    }
}

/// A length of time in its largest unit, rounded down: `40 s`, `25 min`, `3 h`, `2 d`.
pub fn age(length: SignedDuration) -> String {
    let seconds = u64::try_from(length.as_secs()).unwrap_or_default();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", thousands(seconds / 86_400)),
    }
}

/// A share in whole percent, rounded to the nearest.
pub fn percent(part: u32, whole: u32) -> u32 {
    if whole == 0 {
        return 0;
    }
    let rounded = (u64::from(part) * 200 + u64::from(whole)) / (u64::from(whole) * 2);
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

/// Letters to insert, drop or change to make one name of another (Levenshtein).
pub fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (above, from) in a.chars().enumerate() {
        let (mut corner, mut left) = (above, above + 1);
        for (slot, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = corner + usize::from(from != to);
            corner = *slot;
            left = replaced.min(corner + 1).min(left + 1);
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        for (number, text) in
            [(0_u32, "0"), (999, "999"), (1000, "1,000"), (11_439, "11,439"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn nouns_follow_their_number() {
        let texts = [count(1, "pod"), count(0, "pod"), count(2, "address"), count(3, "prefix"), count(1, "address")];
        assert_eq!(texts, ["1 pod", "0 pods", "2 addresses", "3 prefixes", "1 address"]);
    }

    #[test]
    fn lists_are_sentences_and_bounded() {
        let items = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(list(&items(&[]), "and", 3), "");
        assert_eq!(list(&items(&["a"]), "and", 3), "a");
        assert_eq!(list(&items(&["a", "b", "c"]), "or", 3), "a, b or c");
        assert_eq!(list(&items(&["a", "b", "c", "d", "e"]), "and", 2), "a, b and 3 more");
    }

    #[test]
    fn ages_have_one_unit() {
        let texts = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, 200_000_000]
            .map(|seconds| age(SignedDuration::from_secs(seconds)));
        assert_eq!(texts, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "2,314 d"]);
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, want) in [("pod", "pods", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(edits(a, b), want, "{a} {b}");
        }
    }

    #[test]
    fn percent_rounds_to_the_nearest_and_knows_no_division_by_zero() {
        assert_eq!([percent(13, 4091), percent(1, 3), percent(2, 3), percent(1, 0)], [0, 33, 67, 0]);
    }
}
