//! What was there when a test failed.

use super::Suite;
use super::install::kubectl;

const LOG_LINES: usize = 40;
const EVENT_LINES: usize = 40;

/// The sets, Pods, claims, revisions and events of a namespace, and what the manager said of it.
pub fn state(suite: &Suite, namespace: &str) -> String {
    let mut text = String::new();
    let questions: [(&str, &[&str]); 5] = [
        ("sets", &["get", "asts", "-o", "yaml"]),
        ("pods", &["get", "pods", "-o", "wide", "--show-labels"]),
        ("claims", &["get", "pvc"]),
        ("revisions", &["get", "controllerrevisions"]),
        ("events", &["get", "events", "--sort-by=.metadata.creationTimestamp"]),
    ];
    for (title, arguments) in questions {
        let arguments = [arguments, &["-n", namespace]].concat();
        let answer = match kubectl(&suite.cluster.info, &arguments, None) {
            Ok(answer) => answer,
            Err(failure) => failure.0,
        };
        text.push_str(&format!(
            "--- {title}\n{}\n",
            last_lines(&answer, if title == "events" { EVENT_LINES } else { 400 })
        ));
    }
    if let Ok(manager) = suite.manager.lock() {
        text.push_str(&format!("--- the manager, of {namespace}\n{}\n", manager.lines_about(namespace, LOG_LINES)));
        text.push_str(&format!("--- the manager, last\n{}\n", manager.tail(5)));
    }
    text
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
