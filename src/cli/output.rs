//! Small things that verbs print and read alike.

use std::io::Write;

use serde_json::Value;

use super::error::CliError;

/// How an object is printed with `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Json,
    Yaml,
    Name,
}

/// An object of this project as `-o` asks for it, with the line's end.
pub fn formatted(object: &Value, format: Format) -> Result<String, CliError> {
    let failed = |error: String| CliError::Failed(format!("cannot print the object: {error}"));
    match format {
        Format::Json => {
            serde_json::to_string_pretty(object).map(|text| text + "\n").map_err(|error| failed(error.to_string()))
        }
        Format::Yaml => serde_saphyr::to_string(object).map_err(|error| failed(error.to_string())),
        Format::Name => {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            Ok(format!("{}/{name}\n", super::target::RESOURCE))
        }
    }
}

/// Prints a line of progress at once. What is being done must not stop half way because nobody reads any more.
pub fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A text of somebody else's, in one line and without what a terminal would obey.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\td"), "a [2Jb c d");
    }
}
