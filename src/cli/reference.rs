//! `docs/kubectl-asts.md`, from the definition of the verbs and flags.

use clap::{Arg, Command, CommandFactory};

use super::arguments::Arguments;

const HEAD: &str = "\
# kubectl asts

What the plugin takes: made from its own definition by `make crds`, and the same as `--help` says.
Flags under *Connection* stand with every verb; they are kubectl's. A server that is named needs no kubeconfig. `HTTPS_PROXY`
and `NO_PROXY` are obeyed as kubectl obeys them, also for URLs in `-f`. Of kubectl's flags for every command those are not
taken that would do nothing here: `--cache-dir`, `--disable-compression`, `--kuberc`, `--match-server-version`,
`--profile`, `--profile-output`, `--warnings-as-errors` and those of its log.

";

/// What `make screens` has drawn, by verb.
const SCREENS: [(&str, &str, &str); 4] = [
    ("kubectl asts plan", "plan", "a plan: the fields that change, and the Pods in waves"),
    ("kubectl asts diff", "diff", "two templates, line by line"),
    ("kubectl asts get", "get-watch", "the tree of a set in the middle of a rollout"),
    ("kubectl asts rollout status", "rollout-status", "a rollout with its bar and the Pods under way"),
];

/// The page.
pub fn markdown() -> String {
    let mut root = Arguments::command();
    root.build();
    let mut text = HEAD.to_owned();
    text += "## Connection\n\n";
    text += &flags(root.get_arguments().filter(|flag| flag.is_global_set()));
    for verb in shown(&root) {
        section(&mut text, verb, "kubectl asts");
    }
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn section(text: &mut String, command: &Command, before: &str) {
    let name = format!("{before} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    if shown(command).next().is_some() {
        *text += &format!("\n## {name}\n\n{about}.\n");
        shown(command).for_each(|verb| section(text, verb, &name));
        return;
    }
    *text += &format!("\n## {name}\n\n{about}.\n\n");
    if let Some((_, screen, shows)) = SCREENS.iter().find(|(verb, ..)| *verb == name) {
        *text += &format!("![{shows}](screens/{screen}.svg)\n\n");
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
    *text += &format!("```\n{usage}\n```\n\n");
    let arguments = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set());
    let own: Vec<&Arg> = arguments.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")).collect();
    *text += &flags(own.into_iter());
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        *text += &after_help(&after.to_string());
    }
}

/// A table of arguments.
fn flags<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: String = arguments.map(row).collect();
    if rows.is_empty() { rows } else { format!("| | |\n|---|---|\n{rows}") }
}

fn row(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let takes = arg.get_action().takes_values();
    let spelled = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => value.to_owned(),
    };
    let value = if takes && arg.get_long().is_some() { format!(" {value}") } else { String::new() };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| {
            let about = value.get_help().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("`{}`{about}", value.get_name())
        })
        .collect();
    if !values.is_empty() && takes && !arg.is_hide_possible_values_set() {
        help += &format!(": {}", values.join(", "));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && takes && !arg.is_hide_default_value_set() {
        help += &format!(" (default `{}`)", defaults.join(","));
    }
    format!("| `{spelled}{value}` | {} |\n", help.replace('|', "\\|"))
}

/// Prose as it is, examples as code.
fn after_help(text: &str) -> String {
    let (prose, examples) = text.split_once("Examples:\n").unwrap_or((text, ""));
    let mut out = String::new();
    if !prose.trim().is_empty() && !examples.is_empty() {
        out += &format!("\n{}\n", prose.trim());
    } else if !prose.trim().is_empty() {
        out += &format!("\n```\n{}\n```\n", prose.trim());
    }
    if !examples.is_empty() {
        let lines: Vec<&str> = examples.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        out += &format!("\n```\n{}\n```\n", lines.join("\n").trim());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_the_present_definition() {
        let committed = include_str!("../../docs/kubectl-asts.md");
        assert!(committed == markdown(), "docs/kubectl-asts.md is stale: run make crds");
    }

    #[test]
    fn every_verb_has_an_example() {
        fn check(command: &Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if shown(command).next().is_some() {
                shown(command).for_each(|verb| check(verb, &path));
                return;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("kubectl asts ") || help.contains("kubectl-asts "), "{path} has no example");
        }
        let mut root = Arguments::command();
        root.build();
        shown(&root).for_each(|verb| check(verb, "kubectl asts"));
    }
}
