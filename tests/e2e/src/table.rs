//! A table as `kubectl get` prints it.

use anyhow::{Context, Result, ensure};

/// Rows under a header; a cell begins where its column's name does and may be empty.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Row>,
    text: String,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    columns: Vec<String>,
    cells: Vec<String>,
}

impl Table {
    /// Reads what kubectl printed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let header: Vec<char> = lines.next().context("kubectl printed no table")?.chars().collect();
        let starts: Vec<usize> =
            (0..header.len()).filter(|&at| header[at] != ' ' && (at == 0 || header[at - 1] == ' ')).collect();
        let split = |line: &[char]| -> Vec<String> {
            let end = |index: usize| starts.get(index + 1).copied().unwrap_or(line.len()).min(line.len());
            let cell = |(index, start): (usize, &usize)| line.get(*start..end(index)).unwrap_or_default();
            let texts = starts.iter().enumerate().map(cell).map(|cell| cell.iter().collect::<String>());
            texts.map(|cell| cell.trim().to_owned()).collect()
        };
        let columns = split(&header);
        let rows = lines.map(|line| Row { columns: columns.clone(), cells: split(&line.chars().collect::<Vec<_>>()) });
        Ok(Self { rows: rows.collect(), columns, text: text.to_owned() })
    }

    /// The names of the columns.
    pub fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row whose first cell is this.
    pub fn row(&self, name: &str) -> Result<&Row> {
        let found = self.rows.iter().find(|row| row.cells.first().is_some_and(|cell| cell == name));
        found.with_context(|| format!("no row {name} in\n{}", self.text))
    }

    /// An error unless every line fits the width.
    pub fn fits(&self, width: usize) -> Result<()> {
        for line in self.text.lines() {
            let length = line.trim_end().chars().count();
            ensure!(length <= width, "a line of {length} characters, more than {width}:\n{}", self.text);
        }
        Ok(())
    }
}

impl Row {
    /// The cell of a column; empty if there is no such column.
    pub fn cell(&self, column: &str) -> &str {
        let index = self.columns.iter().position(|name| name == column);
        index.and_then(|index| self.cells.get(index)).map_or("", String::as_str)
    }

    /// The cells of some columns.
    pub fn cells<const N: usize>(&self, columns: [&str; N]) -> [&str; N] {
        columns.map(|column| self.cell(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_their_columns_also_when_some_are_empty() {
        let table = Table::parse("NAME    READY   WORST\na       True    subnet-full\nbb-cc           -\n").unwrap();
        assert_eq!(table.columns(), ["NAME", "READY", "WORST"]);
        assert_eq!(table.row("a").unwrap().cells(["READY", "WORST"]), ["True", "subnet-full"]);
        assert_eq!(table.row("bb-cc").unwrap().cells(["READY", "WORST", "AGE"]), ["", "-", ""]);
        assert!(table.row("c").is_err());
        assert!(table.fits(27).is_ok() && table.fits(26).is_err());
    }
}
