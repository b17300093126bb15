//! Figures, what the product promises of them, and the table that shows both.

use std::fmt::Write;

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// A short name for programs.
    pub id: &'static str,
    /// What it is.
    pub what: String,
    /// How much it is.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// The most it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

impl Figure {
    /// Whether the promise is kept; without a promise there is none to break.
    pub fn holds(&self) -> bool {
        self.limit.is_none_or(|limit| self.value <= limit)
    }
}

/// All figures of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// What was measured, in a sentence.
    pub about: String,
    /// The figures, in the order of measuring.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure that nothing is promised of.
    pub(super) fn add(&mut self, id: &'static str, what: impl Into<String>, value: f64, unit: &'static str) {
        self.push(id, what.into(), value, unit, None);
    }

    /// Adds a figure that is promised to be no more than this.
    pub(super) fn promise(
        &mut self,
        id: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        most: f64,
    ) {
        self.push(id, what.into(), value, unit, Some(most));
    }

    fn push(&mut self, id: &'static str, what: String, value: f64, unit: &'static str, limit: Option<f64>) {
        let figure = Figure { id, what, value, unit, limit };
        super::say(&format!("  {}: {}", figure.what, amount(figure.value, figure.unit)));
        self.figures.push(figure);
    }

    /// A figure by its short name.
    pub fn get(&self, id: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.id == id).map(|figure| figure.value)
    }

    /// Whether every promise is kept.
    pub fn holds(&self) -> bool {
        self.figures.iter().all(Figure::holds)
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut table =
            format!("{}\n\n| Figure | Measured | Promised | Kept |\n| --- | ---: | ---: | --- |\n", self.about);
        for figure in &self.figures {
            let measured = amount(figure.value, figure.unit);
            let limit = figure.limit.map_or_else(String::new, |limit| format!("≤ {}", amount(limit, figure.unit)));
            let kept = match (figure.limit, figure.holds()) {
                (None, _) => "",
                (_, true) => "yes",
                (_, false) => "**no**",
            };
            // Writing to a String cannot fail.
            writeln!(table, "| {} | {measured} | {limit} | {kept} |", figure.what).ok();
        }
        table
    }
}

fn amount(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        middle if middle >= 1.0 => 2,
        _ => 3,
    };
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_shows_in_the_table_and_in_the_result() {
        let mut report = Report { about: "A run.".to_owned(), ..Report::default() };
        report.add("pods", "pods", 150_000.0, "");
        report.promise("cpu", "CPU", 2.5, "s", 3.0);
        assert!(report.holds());
        report.promise("memory", "memory", 70.25, "MiB", 64.0);
        assert!(!report.holds());
        let table = report.table();
        assert!(table.contains("| pods | 150000 |  |  |\n| CPU | 2.50 s | ≤ 3 s | yes |\n"), "{table}");
        assert!(table.contains("| memory | 70.2 MiB | ≤ 64 MiB | **no** |"), "{table}");
    }
}
