//! Where the columns of the tree stand. In a narrow terminal they get narrower; what is cut off then is said whole below
//! the line, so that every size of terminal shows everything.

use super::table::{Kind, Row, Style};
use crate::cli::terminal::{Tone, columns, cut, cut_middle, wrapped};

const TITLES: [&str; 6] = ["STATE", "MADE", "RESTARTS", "AGE", "NODE", "IP"];
const STATE: usize = 0;
const MADE: usize = 1;
const RESTARTS: usize = 2;
const AGE: usize = 3;
const NODE: usize = 4;
const IP: usize = 5;
/// Columns that are cut where there is no room, and how far, the first first.
const CUT_FIRST: [(usize, usize); 3] = [(NODE, 10), (STATE, 16), (IP, 15)];
/// Columns that are left out in a terminal that is narrower still, the first first.
const DROPPED_FIRST: [usize; 5] = [IP, NODE, RESTARTS, MADE, AGE];
/// Fewest columns that a name is cut to before anything else, and after it.
const NAME_COLUMNS_MIN: [usize; 2] = [30, 20];

/// How wide the columns are.
pub struct Layout {
    name: usize,
    /// `None`: left out.
    cells: [Option<usize>; 6],
    gap: usize,
    /// The groups stand in the columns too; else their words follow their name.
    in_columns: bool,
    /// Cells and titles are abridged.
    short: bool,
}

impl Layout {
    /// The widest that fits; where even the narrowest is too wide, that one with cells cut or left out.
    pub fn of(rows: &[Row], width: Option<usize>) -> Layout {
        let whole = Layout::with(rows, 2, true, false);
        let Some(width) = width.filter(|width| whole.width() > *width) else { return whole };
        let others = [(2, false, false), (2, false, true), (1, false, true)];
        let layouts = others.map(|(gap, in_columns, short)| Layout::with(rows, gap, in_columns, short));
        let fits = layouts.into_iter().find(|layout| layout.width() <= width);
        fits.unwrap_or_else(|| Layout::with(rows, 1, false, true).cut_to(width))
    }

    fn with(rows: &[Row], gap: usize, in_columns: bool, short: bool) -> Layout {
        let mut layout = Layout { name: columns("NAME"), cells: [None; 6], gap, in_columns, short };
        layout.cells = layout.titles().map(|title| Some(columns(&title)));
        for row in rows.iter().filter(|row| in_columns || row.kind != Kind::Group) {
            layout.name = layout.name.max(columns(&row.branch) + columns(&row.name));
            for (index, width) in layout.cells.iter_mut().enumerate().filter(|_| row.kind != Kind::Pull) {
                *width = (*width).max(Some(columns(&abridged(&row.cells[index], index, short))));
            }
        }
        layout
    }

    fn width(&self) -> usize {
        self.name + self.cells.iter().flatten().map(|cell| cell + self.gap).sum::<usize>()
    }

    fn cut_to(mut self, width: usize) -> Layout {
        let [first, last] = NAME_COLUMNS_MIN;
        self.name -= self.width().saturating_sub(width).min(self.name.saturating_sub(first));
        for (index, least) in CUT_FIRST {
            let excess = self.width().saturating_sub(width);
            self.cells[index] = self.cells[index].map(|cell| cell - excess.min(cell.saturating_sub(least)));
        }
        let mut dropped = DROPPED_FIRST.iter();
        loop {
            let (excess, spare) = (self.width().saturating_sub(width), self.name.saturating_sub(last));
            match dropped.next().filter(|_| excess > spare) {
                Some(index) => self.cells[*index] = None,
                None => {
                    self.name -= excess.min(spare);
                    return self;
                }
            }
        }
    }

    pub fn titles(&self) -> [String; 6] {
        let mut titles = TITLES.map(str::to_owned);
        if self.short {
            titles[RESTARTS] = "RST".to_owned();
        }
        titles
    }

    /// The line of a row, and what it had no room for.
    pub fn lines(&self, row: &Row, style: Style) -> Vec<String> {
        match row.kind {
            Kind::Group if !self.in_columns => vec![group(row, style)],
            Kind::Group | Kind::Pull => vec![self.line(row, style)],
            Kind::Pod => [vec![self.line(row, style)], self.left_over(row, style)].concat(),
        }
    }

    pub fn line(&self, row: &Row, style: Style) -> String {
        let mut line = Line::new(style);
        let name = cut_middle(&row.name, self.name.saturating_sub(columns(&row.branch)));
        line.put(&format!("{}{name}", row.branch), row.name_tone, self.name + self.gap);
        if row.kind == Kind::Pull {
            line.put(&row.cells[STATE], row.tone, 0);
            return line.done();
        }
        for (index, width) in self.cells.iter().enumerate() {
            let Some(width) = *width else { continue };
            let cell = cut_cell(&abridged(&row.cells[index], index, self.short), index, width);
            line.put(&cell, if index == STATE { row.tone } else { Tone::Plain }, width + self.gap);
        }
        line.done()
    }

    /// What the line of a Pod does not show whole, in words; but for its name, of which both ends are shown.
    fn left_over(&self, row: &Row, style: Style) -> Vec<String> {
        let Some(width) = style.width else { return Vec::new() };
        let mut words = Vec::new();
        for (index, cell) in row.cells.iter().enumerate() {
            let is_whole = self.cells[index].is_some_and(|width| columns(&abridged(cell, index, self.short)) <= width);
            if is_whole || cell.is_empty() || cell == "-" {
                continue;
            }
            words.push(match index {
                RESTARTS if cell == "1" => "1 restart".to_owned(),
                RESTARTS => format!("{cell} restarts"),
                AGE => format!("{cell} old"),
                NODE => format!("on {cell}"),
                _ => cell.clone(),
            });
        }
        if words.is_empty() {
            return Vec::new();
        }
        let stem = format!("{}  ", row.branch.replace('├', "│").replace(['└', '─'], " "));
        let told = wrapped(&words.join(", "), width.saturating_sub(columns(&stem)));
        told.iter().map(|words| cut(&format!("{stem}{words}"), width)).collect()
    }
}

/// A line that is being written, never wider than it may be.
struct Line {
    text: String,
    style: Style,
    left: usize,
}

impl Line {
    fn new(style: Style) -> Line {
        Line { text: String::new(), style, left: style.width.unwrap_or(usize::MAX) }
    }

    /// A text, and blanks up to this width.
    fn put(&mut self, text: &str, tone: Tone, width: usize) {
        let text = cut(text, self.left);
        let taken = columns(&text);
        self.text += &self.style.paint.text(tone, &text);
        let pad = width.saturating_sub(taken).min(self.left - taken);
        self.text.extend(std::iter::repeat_n(' ', pad));
        self.left -= taken + pad;
    }

    fn done(self) -> String {
        self.text.trim_end().to_owned()
    }
}

/// A group whose words follow its name.
fn group(row: &Row, style: Style) -> String {
    let age = &row.cells[AGE];
    let age = if age.is_empty() { String::new() } else { format!(", {age} old") };
    let mut line = Line::new(style);
    let others = columns(&row.branch) + 2 + columns(&row.cells[STATE]) + age.len();
    let name = cut_middle(&row.name, line.left.saturating_sub(others).max(NAME_COLUMNS_MIN[1]));
    line.put(&row.branch, row.name_tone, 0);
    line.put(&name, row.name_tone, columns(&name) + 2);
    line.put(&row.cells[STATE], row.tone, 0);
    line.put(&age, Tone::Plain, 0);
    line.done()
}

/// Without the time at which a Pod was updated in place.
fn abridged(cell: &str, index: usize, short: bool) -> String {
    let is_timed = short && index == MADE && cell.starts_with("in place");
    if is_timed { "in place".to_owned() } else { cell.to_owned() }
}

/// Nodes differ at their ends.
fn cut_cell(cell: &str, index: usize, width: usize) -> String {
    if index == NODE { cut_middle(cell, width) } else { cut(cell, width) }
}
