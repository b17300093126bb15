//! The Prometheus text format, as far as ipamd uses it: one sample a line.

use std::borrow::Cow;

/// The longest line that is looked at: ipamd's are a tenth of it.
const LONGEST: usize = 8 * 1024;

/// Cuts a stream of chunks into lines. A line that is longer than any of ipamd's is left out.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    overlong: bool,
}

impl Lines {
    /// Takes a chunk and hands on every line that it completes.
    pub(super) fn push(&mut self, chunk: &[u8], mut line: impl FnMut(&[u8])) {
        let mut pieces = chunk.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.keep(piece);
            self.end(&mut line);
        }
        self.keep(last);
    }

    /// The last line, which nothing ends.
    pub(super) fn finish(mut self, mut line: impl FnMut(&[u8])) {
        self.end(&mut line);
    }

    fn keep(&mut self, piece: &[u8]) {
        self.overlong |= self.rest.len() + piece.len() > LONGEST;
        if !self.overlong {
            self.rest.extend_from_slice(piece);
        }
    }

    fn end(&mut self, line: &mut impl FnMut(&[u8])) {
        if !self.overlong && !self.rest.is_empty() {
            line(&self.rest);
        }
        self.rest.clear();
        self.overlong = false;
    }
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<'a> {
    /// The metric's name.
    pub(super) name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    /// Its value.
    pub(super) value: f64,
}

impl Sample<'_> {
    /// The value of a label; empty if there is none, which is the same in this format.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

/// Reads `name{label="value"} 1 [timestamp]`; none if the line is not of this form.
pub(super) fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim_end_matches('\r');
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = number(words.next()?)?;
    let timestamp = words.next().is_none_or(|word| word.parse::<i64>().is_ok());
    (timestamp && words.next().is_none()).then_some(Sample { name, labels, value })
}

/// Go writes `+Inf` and `NaN`, which Rust reads as well.
fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

/// Labels up to the closing brace, and what follows it.
#[expect(clippy::type_complexity, reason = "pairs and a rest")]
fn labels(mut rest: &str) -> Option<(Vec<(&str, Cow<'_, str>)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once('=')?;
        let (value, after) = text(quoted.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim_end(), value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// A quoted text up to its closing quote, and what follows it.
fn text(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = closing(quoted)?;
    let (inside, after) = quoted.split_at(end);
    let after = after.strip_prefix('"')?;
    if !inside.contains('\\') {
        return Some((Cow::Borrowed(inside), after));
    }
    let (mut plain, mut chars) = (String::with_capacity(inside.len()), inside.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(match chars.next()? {
                'n' => '\n',
                other => other,
            }),
            c => plain.push(c),
        }
    }
    Some((Cow::Owned(plain), after))
}

/// Where the first quote is that no backslash escapes.
fn closing(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_as_the_format_says() {
        let read = |line: &'static str| {
            let sample = sample(line)?;
            let labels: Vec<String> = sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Some((sample.name, labels.join(","), sample.value))
        };
        for (line, name, labels, value) in [
            ("a 1", "a", "", 1.0),
            ("a{} 1", "a", "", 1.0),
            ("a{fn=\"x\"} 1.5e+06", "a", "fn=x", 1_500_000.0),
            ("a { fn = \"x\" , error=\"y\", } 2 1700000000000\r", "a", "fn=x,error=y", 2.0),
            (r#"a{fn="q\"b\\n\n}"} 3"#, "a", "fn=q\"b\\n\n}", 3.0),
            ("a +Inf", "a", "", f64::INFINITY),
        ] {
            assert_eq!(read(line), Some((name, labels.to_owned(), value)), "{line}");
        }
        for line in ["", "a", "a{", "a{fn} 1", "a{fn=x} 1", "a{fn=\"x} 1", "a x", "a 1 x", "a 1 2 3", "{} 1", "a-b 1"] {
            assert_eq!(read(line), None, "{line}");
        }
        assert!(sample("a NaN").unwrap().value.is_nan());
    }

    #[test]
    fn a_line_longer_than_any_of_ipamds_is_left_out_and_the_next_is_not() {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        let long = vec![b'x'; LONGEST + 1];
        for chunk in [b"one\ntw".as_slice(), b"o\n", &long, b"\n", b"three"] {
            lines.push(chunk, |line| seen.push(line.to_vec()));
        }
        lines.finish(|line| seen.push(line.to_vec()));
        assert_eq!(seen, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    }
}
