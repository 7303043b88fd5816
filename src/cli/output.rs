//! Small things that verbs print and read alike.

use std::time::Duration;

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

/// A text of somebody else's, in one line and without what a terminal would obey.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A time as Go writes it (`90s`, `1h30m`, `1.5s`, `250ms`), or a bare number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write it as 30s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest.find(|it: char| !(it.is_ascii_digit() || it == '.')).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|it: char| it.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\td"), "a [2Jb c d");
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, milliseconds) in
            [("0", 0), ("0s", 0), ("90s", 90_000), ("1h30m", 5_400_000), ("1.5s", 1500), ("250ms", 250), ("7", 7000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "5x", "1h-3m", "-5s", "1e400", "ten"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
