//! What the terminal can show: colours, width, and texts that fit.

use std::io::IsTerminal;

use clap::ValueEnum;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// In a terminal, unless NO_COLOR is set; anywhere with CLICOLOR_FORCE
    #[default]
    Auto,
    Always,
    Never,
}

/// What an environment says of colours, and whether a terminal shows them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub no_color: bool,
    pub force: bool,
    pub is_dumb: bool,
    pub is_terminal: bool,
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> Surroundings {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|given| given == value);
        Surroundings {
            no_color: set("NO_COLOR") || is("CLICOLOR", "0"),
            force: set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0"),
            is_dumb: is("TERM", "dumb"),
            is_terminal: std::io::stdout().is_terminal(),
        }
    }
}

impl Colour {
    pub fn paint(self, around: &Surroundings) -> Paint {
        let on = match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto if around.no_color => false,
            Colour::Auto => around.force || (around.is_terminal && !around.is_dumb),
        };
        Paint { on }
    }
}

/// Puts colours around texts, or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    pub on: bool,
}

/// A colour by what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Busy,
    Bad,
    Faint,
    Strong,
}

impl Paint {
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
            Tone::Plain => return text.to_owned(),
        };
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns and lines of the terminal; `None` where there is none that has any.
pub fn size() -> Option<(usize, usize)> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let (columns, lines) = crossterm::terminal::size().ok()?;
    (columns > 0 && lines > 0).then_some((usize::from(columns), usize::from(lines)))
}

/// How many columns a text takes: wide letters take two.
pub fn columns(text: &str) -> usize {
    text.chars().map(column_count).sum()
}

fn column_count(letter: char) -> usize {
    match u32::from(letter) {
        0x0300..=0x036f | 0x200b..=0x200f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The text in at most so many columns, cut at the end.
pub fn cut(text: &str, max: usize) -> String {
    if columns(text) <= max {
        return text.to_owned();
    }
    let mut taken = 0;
    let kept: String = text
        .chars()
        .take_while(|letter| {
            taken += column_count(*letter);
            taken < max
        })
        .collect();
    if max == 0 { String::new() } else { format!("{kept}…") }
}

/// The text in at most so many columns, cut in the middle: names differ at their ends.
pub fn cut_middle(text: &str, max: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= max {
        return text.to_owned();
    }
    let tail = max.saturating_sub(1) / 2;
    let head = max.saturating_sub(1) - tail;
    if max == 0 {
        return String::new();
    }
    all[..head].iter().chain(&['…']).chain(&all[all.len() - tail..]).collect()
}

/// The text in lines of at most so many columns, broken between words where that can be; all but the first are indented.
pub fn wrapped(text: &str, max: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    // Less would hold no letter beside the indent.
    if max < 2 * INDENT.len() {
        return vec![cut(text, max)];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').flat_map(|word| broken(word, max - INDENT.len())) {
        let gap = if line.trim().is_empty() { "" } else { " " };
        if columns(&line) + gap.len() + columns(&word) > max {
            lines.push(std::mem::replace(&mut line, INDENT.to_owned()));
            line.push_str(&word);
        } else {
            line.push_str(gap);
            line.push_str(&word);
        }
    }
    lines.push(line);
    lines
}

/// A word in parts of at most so many columns.
fn broken(word: &str, max: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut taken = 0;
    for letter in word.chars() {
        let width = column_count(letter);
        if taken + width > max {
            parts.push(String::new());
            taken = 0;
        }
        taken += width;
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_obey_the_flag_then_the_environment_then_the_terminal() {
        let terminal = Surroundings { is_terminal: true, ..Surroundings::default() };
        let on = |colour: Colour, around: &Surroundings| colour.paint(around).on;
        assert!(on(Colour::Auto, &terminal));
        assert!(!on(Colour::Auto, &Surroundings::default()));
        assert!(!on(Colour::Auto, &Surroundings { no_color: true, force: true, ..terminal.clone() }));
        assert!(!on(Colour::Auto, &Surroundings { is_dumb: true, ..terminal.clone() }));
        assert!(on(Colour::Auto, &Surroundings { force: true, ..Surroundings::default() }));
        assert!(on(Colour::Always, &Surroundings { no_color: true, ..Surroundings::default() }));
        assert!(!on(Colour::Never, &Surroundings { force: true, ..terminal }));
    }

    #[test]
    fn long_texts_are_wrapped_between_words() {
        assert_eq!(wrapped("Progressing: one two three", 16), ["Progressing: one", "    two three"]);
        assert_eq!(wrapped("short", 16), ["short"]);
        for text in ["a".repeat(100), "日本語".repeat(30), format!("x {} y", "b".repeat(50))] {
            for max in 1..40 {
                let lines = wrapped(&text, max);
                assert!(lines.iter().all(|line| columns(line) <= max), "{max}: {lines:?}");
            }
        }
    }

    #[test]
    fn texts_are_cut_to_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(cut_middle("a-very-long-name-17", 9), "a-ve…e-17");
        assert_eq!(cut_middle("web-1", 9), "web-1");
        assert_eq!(cut_middle("web-1", 0), "");
    }
}
