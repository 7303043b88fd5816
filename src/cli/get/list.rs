//! The sets of a namespace, one a line.

use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;

use super::table::Style;
use crate::api::AdvancedStatefulSet;
use crate::api::names::conditions as types;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::cli::output::clean;
use crate::cli::phase::{seconds_between, short_span};
use crate::cli::rollout::verdict::{condition, is_observed, wanted};
use crate::cli::terminal::{Tone, columns};

/// Where sets are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Namespace,
    All,
}

/// The sets, by namespace and name.
pub async fn read(
    session: &Session,
    scope: Scope,
    selector: Option<&str>,
) -> Result<Vec<AdvancedStatefulSet>, CliError> {
    let api: Api<AdvancedStatefulSet> = match scope {
        Scope::Namespace => Api::namespaced(session.client.clone(), &session.namespace),
        Scope::All => Api::all(session.client.clone()),
    };
    Ok(api.list(&ListParams::default().labels(selector.unwrap_or_default())).await?.items)
}

/// A line for each set, below titles.
pub fn lines(sets: &[AdvancedStatefulSet], scope: Scope, style: Style) -> Vec<String> {
    let titles = ["NAMESPACE", "NAME", "READY", "UPDATED", "AVAILABLE", "PROGRESS", "AGE"].map(str::to_owned);
    let rows: Vec<([String; 7], Tone)> =
        std::iter::once((titles, Tone::Plain)).chain(sets.iter().map(|set| row(set, style.now))).collect();
    let from = usize::from(scope == Scope::Namespace);
    let widths: Vec<usize> =
        (0..7).map(|index| rows.iter().map(|(cells, _)| columns(&cells[index])).max().unwrap_or(0)).collect();
    let line = |(cells, tone): &([String; 7], Tone)| {
        let mut line = String::new();
        for (index, cell) in cells.iter().enumerate().skip(from) {
            let pad = widths[index] - columns(cell) + 2;
            let painted = if index == 5 { style.paint.text(*tone, cell) } else { cell.clone() };
            line += &format!("{painted}{}", " ".repeat(pad));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(set: &AdvancedStatefulSet, now: Timestamp) -> ([String; 7], Tone) {
    let status = set.status.clone().unwrap_or_default();
    let (replicas, updates) = wanted(set);
    let progressing = condition(set, types::PROGRESSING);
    let reason = progressing.and_then(|one| one.reason.clone()).unwrap_or_default();
    let stuck = progressing.is_some_and(|one| one.status == "False");
    let (progress, tone) = match reason.as_str() {
        _ if !is_observed(set) => ("NotObserved".to_owned(), Tone::Busy),
        "Complete" => (reason, Tone::Good),
        _ if stuck => (reason, Tone::Bad),
        _ => (reason, Tone::Busy),
    };
    let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let cells = [
        set.metadata.namespace.clone().unwrap_or_default(),
        set.metadata.name.clone().unwrap_or_default(),
        format!("{}/{replicas}", status.ready_replicas),
        format!("{}/{updates}", status.updated_replicas),
        status.available_replicas.to_string(),
        clean(&progress),
        created.map(|at| short_span(seconds_between(at, now))).unwrap_or_default(),
    ];
    (cells, tone)
}
