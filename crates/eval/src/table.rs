//! Markdown tables that a terminal shows aligned as they are.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// No column of names is wider than this.
const NAME_WIDTH: usize = 28;

/// A table under construction; the first column is left-aligned, all others right-aligned.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self::default();
        table.row(header);
        table
    }

    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| name(&cell.into())).collect());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let cell = |row: &[String], i: usize| row.get(i).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().map(|row| cell(row, i).width()).max().unwrap_or(0).max(3))
            .collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (i, &width) in widths.iter().enumerate() {
                let cell = cell(row, i);
                let gap = " ".repeat(width - cell.width());
                let (before, after) = if i == 0 { ("", gap.as_str()) } else { (gap.as_str(), "") };
                let _ = write!(text, "| {before}{cell}{after} ");
            }
            text.push_str("|\n");
            if number == 0 {
                for (i, &width) in widths.iter().enumerate() {
                    let line = "-".repeat(width);
                    let end = if i == 0 { "-" } else { ":" };
                    let _ = write!(text, "| {}{end} ", &line[1..]);
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

/// Text fit for a cell: on one line, no control characters, no column border, not too wide.
fn name(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        let wide = c.width().unwrap_or(0);
        if width + wide > NAME_WIDTH - 1 && text.width() > NAME_WIDTH {
            out.push('…');
            break;
        }
        width += wide;
        if c == '|' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_hostile_labels_stay_in_their_column() {
        let mut table = Table::new(["label", "n"]);
        table.row(["猫が好き", "1"]);
        table.row(["a|b\nc", "20,000"]);
        table.row(["a label that goes on and on and on", "3"]);
        assert_eq!(
            table.render(),
            "\
| label                        |      n |
| ---------------------------- | -----: |
| 猫が好き                     |      1 |
| a\\|b c                       | 20,000 |
| a label that goes on and on… |      3 |
"
        );
    }
}
