//! Columns and paragraphs of plain text, measured in characters.

/// A table: each column as wide as its widest cell, numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let numeric: Vec<bool> = (0..head.len()).map(|column| rows.iter().all(|row| is_number(&row[column]))).collect();
    let line = |cells: &[String]| {
        let mut line = String::new();
        for ((cell, width), numeric) in cells.iter().zip(&widths).zip(&numeric) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let parts = if *numeric { [pad.as_str(), cell, "  "] } else { [cell, pad.as_str(), "  "] };
            line.extend(parts);
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect()
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '?' | '-' | '/' | '+' | '~'))
}

/// A paragraph that begins after `first` and hangs under it, broken at words; commands in it are not broken apart.
pub(crate) fn hanging(first: &str, body: &str, width: usize) -> String {
    let indent = first.chars().count();
    let mut out = String::from(first);
    let mut column = indent;
    for (at, word) in body.split_whitespace().enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_words_left() {
        let rows = [vec!["a".to_owned(), "1,200".to_owned()], vec!["long".to_owned(), "?".to_owned()]];
        assert_eq!(table(&["NAME", "FREE"], &rows), "NAME   FREE\na     1,200\nlong      ?\n");
    }

    #[test]
    fn a_paragraph_hangs_under_its_label() {
        assert_eq!(hanging("  Why  ", "one two three", 14), "  Why  one two\n       three\n");
    }
}
