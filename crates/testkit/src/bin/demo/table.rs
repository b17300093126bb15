//! Tables of kubectl in less width: the gaps between columns go from three spaces to two, nothing else changes.

/// The rows that are shown; the header always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Every row.
    All,
    /// So many from the top.
    First(usize),
    /// So many from the bottom.
    Last(usize),
}

const GAP: usize = 3;

/// The chosen rows with a word about those left out, the gaps narrowed.
pub(crate) fn shorten(table: &str, rows: Rows) -> String {
    let lines: Vec<&str> = table.lines().collect();
    let Some((header, body)) = lines.split_first() else { return String::new() };
    let narrow = |line: &&str| narrowed(line, &column_starts(header));
    let (before, shown, after) = chosen(body, rows);
    let mut out = vec![narrow(header)];
    out.extend((before > 0).then(|| format!("… {before} more above")));
    out.extend(shown.iter().map(narrow));
    out.extend((after > 0).then(|| format!("… {after} more below")));
    out.join("\n")
}

/// How many rows are left out above, which are shown, how many are left out below. One row is not worth a word.
fn chosen<'a>(body: &'a [&'a str], rows: Rows) -> (usize, &'a [&'a str], usize) {
    match rows {
        Rows::First(count) if body.len() > count + 1 => (0, &body[..count], body.len() - count),
        Rows::Last(count) if body.len() > count + 1 => (body.len() - count, &body[body.len() - count..], 0),
        _ => (0, body, 0),
    }
}

/// Where each column begins, in characters: behind the gaps of the header.
fn column_starts(header: &str) -> Vec<usize> {
    let letters: Vec<char> = header.chars().collect();
    let is_start = |index: &usize| {
        letters[*index] != ' ' && (*index == 0 || letters[index.saturating_sub(GAP)..*index].iter().all(|c| *c == ' '))
    };
    (0..letters.len()).filter(is_start).collect()
}

fn narrowed(line: &str, starts: &[usize]) -> String {
    let letters: Vec<char> = line.chars().collect();
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([usize::MAX]);
    let cells = starts.iter().zip(ends).map(|(start, end)| {
        let end = end.min(letters.len());
        letters.get(*start..end).unwrap_or_default().iter().collect::<String>()
    });
    cells.collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "NAME    ZONE   FREE-IPS\nfirst   a      1\nother   b      2\nthird   c      3\nlast    d      4\n";

    #[test]
    fn gaps_are_narrowed_and_columns_stay_aligned() {
        assert_eq!(
            shorten(TABLE, Rows::All),
            "NAME   ZONE  FREE-IPS\nfirst  a     1\nother  b     2\nthird  c     3\nlast   d     4"
        );
    }

    #[test]
    fn left_out_rows_are_counted() {
        assert_eq!(shorten(TABLE, Rows::First(1)), "NAME   ZONE  FREE-IPS\nfirst  a     1\n… 3 more below");
        assert_eq!(
            shorten(TABLE, Rows::Last(2)),
            "NAME   ZONE  FREE-IPS\n… 2 more above\nthird  c     3\nlast   d     4"
        );
        assert!(!shorten(TABLE, Rows::Last(3)).contains('…'), "one row more is not worth a word");
    }
}
