//! How the demo writes: sentences, commands, and the commands' output within a fixed width.

use std::io::{IsTerminal, Stdout, Write, stdout};

use anyhow::{Context, Result};

/// Nothing is wider than this.
const WIDTH: usize = 140;

/// Standard output, with emphasis where it is a terminal.
pub(crate) struct Screen {
    out: Stdout,
    terminal: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { out: stdout(), terminal: stdout().is_terminal() }
    }

    /// Text; a line that is too wide continues under its beginning.
    pub(crate) fn say(&self, text: &str) -> Result<()> {
        // An empty text is an empty line.
        let lines = if text.is_empty() { vec![""] } else { text.lines().collect() };
        self.write(lines.into_iter().flat_map(|line| fold(line, hanging_indent(line))))
    }

    /// A table; a row that is too wide continues in its last column.
    pub(crate) fn table(&self, text: &str) -> Result<()> {
        let header = text.lines().next().unwrap_or_default();
        let last_column = header.rfind("  ").map_or(0, |gap| gap + 2);
        self.write(text.lines().flat_map(|line| fold(line, last_column)))
    }

    /// A sentence that introduces what follows.
    pub(crate) fn headline(&self, text: &str) -> Result<()> {
        self.write([String::new()])?;
        self.write(fold(text, 0).iter().map(|line| self.emphasized("1", line)))
    }

    /// A command line as a user would type it.
    pub(crate) fn command(&self, line: &str) -> Result<()> {
        self.write(fold(&format!("$ {line}"), 4).iter().map(|line| self.emphasized("36", line)))
    }

    fn write(&self, lines: impl IntoIterator<Item = String>) -> Result<()> {
        let mut out = self.out.lock();
        for line in lines {
            writeln!(out, "{line}").context("cannot write to standard output")?;
        }
        out.flush().context("cannot write to standard output")
    }

    fn emphasized(&self, code: &str, text: &str) -> String {
        if self.terminal { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line as lines that are not too wide, broken between words; all but the first are indented.
fn fold(line: &str, indent: usize) -> Vec<String> {
    let line = line.trim_end();
    if line.chars().count() <= WIDTH {
        return vec![line.to_owned()];
    }
    let indent = " ".repeat(indent);
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split_inclusive(' ') {
        let fits = current.chars().count() + word.trim_end().chars().count() <= WIDTH;
        if !fits && !current.trim().is_empty() {
            lines.push(current.trim_end().to_owned());
            current.clone_from(&indent);
        }
        current.push_str(word);
    }
    lines.push(current.trim_end().to_owned());
    lines
}

/// Where the value begins: behind a leading `Name:` and its spaces, else where the text begins.
fn hanging_indent(line: &str) -> usize {
    let start = line.len() - line.trim_start().len();
    let Some(colon) = line.find(": ") else { return start };
    let value = colon + 1 + line[colon + 1..].len() - line[colon + 1..].trim_start().len();
    // A colon deep in a sentence is no name.
    if value <= WIDTH / 3 && line[start..colon].split(' ').count() <= 3 { value } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_line_continues_under_its_value() {
        let line = format!("  Summary:   {}", "word ".repeat(40));
        let folded = fold(&line, hanging_indent(&line));
        assert_eq!(folded.len(), 2);
        assert!(folded.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(folded[1].starts_with(&format!("{}word", " ".repeat(13))), "{:?}", folded[1]);
    }

    #[test]
    fn a_word_that_is_too_long_stays_whole() {
        let word = "y".repeat(150);
        assert_eq!(fold(&word, 4), [word]);
    }
}
