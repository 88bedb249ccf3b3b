//! Columns that line up in a terminal.

use unicode_width::UnicodeWidthStr as _;

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// A list without headings.
    pub(crate) fn bare() -> Self {
        Self { rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // A cell is one line and moves no cursor, whatever a file put into it.
        let one_line =
            |cell: String| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.rows.push(cells.map(one_line).to_vec());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| self.rows.iter().filter_map(|row| Some(row.get(i)?.width())).max();
        let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width - cell.width() + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_and_cells_stay_on_their_line() {
        let mut table = Table::new(["name", "n"]);
        table.row(["猫".to_owned(), "1".to_owned()]);
        table.row(["a\nb\u{1b}".to_owned(), "22".to_owned()]);
        assert_eq!(table.render(), "name  n\n猫    1\na b   22\n");
    }
}
