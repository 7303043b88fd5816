//! What a half-typed line asks for, by the definition of the flags. Values only.

use clap::{Arg, ArgAction, Command};

/// A word that may follow, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub word: String,
    pub about: String,
}

impl Candidate {
    pub fn plain(word: String) -> Candidate {
        Candidate { word, about: String::new() }
    }
}

/// What kind of word is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Words(Vec<Candidate>),
    Sets,
    /// With their kind, as `adopt` takes them.
    StatefulSets,
    /// Of the set that was named last.
    Revisions,
    Namespaces,
    Contexts,
    Clusters,
    Users,
    Files,
    Nothing,
}

/// A half-typed line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub wanted: Wanted,
    /// What was typed of the word, without the flag before a `=`.
    pub current: String,
    /// The words before it that are neither verbs nor flags.
    pub positionals: Vec<String>,
    /// The flags before it that say which cluster, with their values.
    pub connection: Vec<String>,
}

/// Flags that decide where candidates are looked for.
const CONNECTION: [&str; 13] = [
    "kubeconfig",
    "context",
    "cluster",
    "user",
    "namespace",
    "server",
    "token",
    "as",
    "as-group",
    "as-uid",
    "insecure-skip-tls-verify",
    "tls-server-name",
    "request-timeout",
];

/// Reads the words of a line; the last is the one to be completed.
pub fn asked(root: &Command, words: &[String]) -> Asked {
    let (current, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut reading =
        Reading { command: root, positionals: Vec::new(), connection: Vec::new(), open: None, only_names: false };
    before.iter().for_each(|word| reading.read(word));
    let (wanted, current) = reading.wants(current);
    Asked { wanted, current, positionals: reading.positionals, connection: reading.connection }
}

struct Reading<'a> {
    command: &'a Command,
    positionals: Vec<String>,
    connection: Vec<String>,
    /// A flag whose value is the next word.
    open: Option<&'a Arg>,
    /// Behind `--`.
    only_names: bool,
}

impl<'a> Reading<'a> {
    fn read(&mut self, word: &str) {
        if let Some(flag) = self.open.take() {
            self.keep(flag, Some(word));
        } else if word == "--" && !self.only_names {
            self.only_names = true;
        } else if word.starts_with('-') && word.len() > 1 && !self.only_names {
            let (name, value) = split(word);
            let Some(flag) = self.flag(name) else { return };
            if value.is_none() && takes_next_word(flag) {
                self.open = Some(flag);
            } else {
                self.keep(flag, value);
            }
        } else if let Some(verb) = self.verb(word) {
            self.command = verb;
        } else {
            self.positionals.push(word.to_owned());
        }
    }

    fn verb(&self, word: &str) -> Option<&'a Command> {
        if self.positionals.is_empty() && !self.only_names { self.command.find_subcommand(word) } else { None }
    }

    fn flag(&self, name: &str) -> Option<&'a Arg> {
        let mut flags = self.command.get_arguments();
        match name.strip_prefix("--") {
            Some(long) => flags.find(|flag| {
                flag.get_long() == Some(long) || flag.get_all_aliases().is_some_and(|all| all.contains(&long))
            }),
            None => {
                let mut letters = name.chars().skip(1);
                let letter = letters.next()?;
                // More than one letter: a value right behind it, or many flags, none of which waits for a word.
                flags.find(|flag| flag.get_short() == Some(letter) && letters.clone().next().is_none())
            }
        }
    }

    fn keep(&mut self, flag: &Arg, value: Option<&str>) {
        let Some(long) = flag.get_long().filter(|long| CONNECTION.contains(long)) else { return };
        self.connection.push(value.map_or_else(|| format!("--{long}"), |value| format!("--{long}={value}")));
    }

    fn wants(&self, current: &str) -> (Wanted, String) {
        if let Some(flag) = self.open {
            return (value_of(flag), current.to_owned());
        }
        if current.starts_with('-') && !self.only_names {
            return match split(current) {
                (name, Some(value)) => (self.flag(name).map_or(Wanted::Nothing, value_of), value.to_owned()),
                (_, None) => (Wanted::Words(self.flags()), current.to_owned()),
            };
        }
        let verbs: Vec<Candidate> = self
            .command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(|verb| Candidate { word: verb.get_name().to_owned(), about: about(verb.get_about()) })
            .collect();
        if !verbs.is_empty() && self.positionals.is_empty() {
            return (Wanted::Words(verbs), current.to_owned());
        }
        (self.positional(), current.to_owned())
    }

    fn flags(&self) -> Vec<Candidate> {
        let shown = self.command.get_arguments().filter(|flag| !flag.is_hide_set());
        let candidate =
            |flag: &Arg| Some(Candidate { word: format!("--{}", flag.get_long()?), about: about(flag.get_help()) });
        shown.filter_map(candidate).collect()
    }

    fn positional(&self) -> Wanted {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let many = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Append);
        match all.get(self.positionals.len()).copied().or_else(|| all.last().copied().filter(many)) {
            Some(arg) => value_of(arg),
            None => Wanted::Nothing,
        }
    }
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// A flag and its value behind a `=`.
fn split(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    }
}

fn takes_next_word(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// What an argument's value is, by its values and names.
fn value_of(arg: &Arg) -> Wanted {
    if !arg.get_action().takes_values() {
        return Wanted::Nothing;
    }
    let values: Vec<Candidate> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| Candidate { word: value.get_name().to_owned(), about: about(value.get_help()) })
        .collect();
    if !values.is_empty() {
        return Wanted::Words(values);
    }
    let value_name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match (arg.get_long(), value_name) {
        (Some("namespace"), _) => Wanted::Namespaces,
        (Some("context"), _) => Wanted::Contexts,
        (Some("cluster"), _) => Wanted::Clusters,
        (Some("user"), _) => Wanted::Users,
        (Some("revision" | "to-revision"), _) => Wanted::Revisions,
        (_, "FILE" | "FOLDER") => Wanted::Files,
        (None, "NAME") => Wanted::Sets,
        (None, "TYPE/NAME") => Wanted::StatefulSets,
        _ => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::arguments::Arguments;

    fn of(line: &[&str]) -> Asked {
        let mut command = Arguments::command();
        command.build();
        asked(&command, &line.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn words(line: &[&str]) -> Vec<String> {
        match of(line).wanted {
            Wanted::Words(words) => words.into_iter().map(|candidate| candidate.word).collect(),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn verbs_and_flags_are_those_of_the_definition() {
        assert!(words(&[""]).contains(&"rollout".to_owned()));
        assert!(words(&["-n", "x", "ro"]).contains(&"rollout".to_owned()), "behind a flag");
        assert_eq!(words(&["rollout", ""]), ["history", "pause", "restart", "resume", "status", "undo"]);
        let flags = words(&["rollout", "undo", "--"]);
        assert!(flags.contains(&"--to-revision".to_owned()) && flags.contains(&"--namespace".to_owned()), "{flags:?}");
        assert_eq!(words(&["rollout", "undo", "web", "--dry-run="]), ["none", "client", "server"]);
        assert!(!words(&[""]).contains(&"__complete".to_owned()));
    }

    #[test]
    fn values_are_told_by_their_place() {
        for (line, wanted) in [
            (vec!["rollout", "status", ""], Wanted::Sets),
            (vec!["rollout", "status", "web", ""], Wanted::Sets),
            (vec!["rollout", "status", "--watch", ""], Wanted::Sets),
            (vec!["rollout", "status", "--timeout", "5s", ""], Wanted::Sets),
            (vec!["rollout", "status", "--", ""], Wanted::Sets),
            (vec!["adopt", ""], Wanted::StatefulSets),
            (vec!["adopt", "statefulset", ""], Wanted::StatefulSets),
            (vec!["release", ""], Wanted::Sets),
            (vec!["diff", ""], Wanted::Sets),
            (vec!["diff", "web", ""], Wanted::Nothing),
            (vec!["diff", "web", "--revision", ""], Wanted::Revisions),
            (vec!["rollout", "undo", "web", "--to-revision=1"], Wanted::Revisions),
            (vec!["-n", ""], Wanted::Namespaces),
            (vec!["get", "--namespace=d"], Wanted::Namespaces),
            (vec!["get", "--context", ""], Wanted::Contexts),
            (vec!["rollout", "pause", "-f", ""], Wanted::Files),
            (vec!["rollout", "status", "--timeout", ""], Wanted::Nothing),
            (vec!["no", "such", "--thing", ""], Wanted::Nothing),
        ] {
            assert_eq!(of(&line).wanted, wanted, "{line:?}");
        }
    }

    #[test]
    fn the_cluster_is_the_one_of_the_line() {
        let asked = of(&["-n", "ns", "rollout", "--context=c", "status", "web", "--watch=false", "d"]);
        assert_eq!(asked.connection, ["--namespace=ns", "--context=c"]);
        assert_eq!((asked.positionals, asked.current), (vec!["web".to_owned()], "d".to_owned()));
    }

    #[test]
    fn any_line_is_read() {
        for line in
            [vec![], vec!["-"], vec!["--"], vec!["--="], vec!["-é", "x"], vec!["=", ""], vec!["rollout", "--", "--"]]
        {
            of(&line);
        }
    }
}
