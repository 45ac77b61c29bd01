//! Aligned columns.

use std::fmt::Write as _;

use anstyle::Style;

use crate::style;

/// One cell: its text and its colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl Cell {
    /// A cell in the terminal's own colour.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Cell::styled(text, Style::new())
    }

    /// A cell in this colour.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Cell {
            text: text.into(),
            style,
            right: false,
        }
    }

    /// The same cell, set to the right of its column, as numbers are.
    pub(crate) fn right(self) -> Self {
        Cell {
            right: true,
            ..self
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows of cells, each column as wide as its widest cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn with_heads<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        let heads = heads
            .into_iter()
            .map(|head| Cell::styled(head, style::HEADING))
            .collect();
        Table {
            rows: vec![heads],
            indent: 0,
        }
    }

    /// The same table, so many columns further right.
    pub(crate) fn indented(self, indent: usize) -> Self {
        Table { indent, ..self }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The whole table, as lines.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(Cell::width).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            text.push_str(&" ".repeat(self.indent));
            for (column, cell) in row.iter().enumerate() {
                let last = column + 1 == row.len();
                push_cell(&mut text, cell, widths[column], last);
            }
            text.push('\n');
        }
        text
    }
}

/// Appends one cell, and the space up to the next column.
fn push_cell(text: &mut String, cell: &Cell, width: usize, last: bool) {
    let padding = " ".repeat(width - cell.width());
    if cell.right {
        text.push_str(&padding);
    }
    let style = cell.style;
    // Writing to a string cannot fail.
    let _ = write!(text, "{style}{}{style:#}", cell.text);
    if !last {
        if !cell.right {
            text.push_str(&padding);
        }
        text.push_str(GAP);
    }
}

/// What stands between two columns.
const GAP: &str = "  ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::with_heads(["id", "roles", "rtt"]).indented(1);
        table.row(vec![
            Cell::plain("a"),
            Cell::plain("db:master"),
            Cell::plain("7").right(),
        ]);
        table.row(vec![
            Cell::plain("bcd"),
            Cell::plain("é"),
            Cell::plain("1,234").right(),
        ]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(
            plain,
            " id   roles      rtt\n a    db:master      7\n bcd  é          1,234\n"
        );
    }
}
