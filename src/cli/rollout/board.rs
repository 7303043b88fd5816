//! How a rollout is drawn in a terminal: a bar, and a line for each Pod under way.

use jiff::Timestamp;

use crate::cli::get::table::{Style, notes, tone};
use crate::cli::output::clean;
use crate::cli::phase::{seconds_between, short_span};
use crate::cli::terminal::{columns, cut, cut_middle};
use crate::cli::tree::{Tree, under_way};

const BAR_COLUMNS: usize = 20;
/// Most columns of a Pod's name.
const NAME_COLUMNS_MAX: usize = 40;

/// The lines: at most so many.
pub fn board(tree: &Tree, since: Timestamp, style: Style, max: usize) -> Vec<String> {
    let width = style.width.unwrap_or(usize::MAX);
    let mut lines = vec![cut(&summary(tree, seconds_between(since, style.now)), width)];
    let told = notes(tree, style);
    let told = &told[..told.len().min(max.saturating_sub(1) / 3)];
    let pods = under_way(tree);
    let room = max.saturating_sub(1 + told.len());
    // One line says how many more there are.
    let shown = if pods.len() <= room { pods.len() } else { room.saturating_sub(1) };
    let name_columns = pods[..shown].iter().map(|pod| columns(&pod.name)).max().unwrap_or(0).min(NAME_COLUMNS_MAX);
    for pod in &pods[..shown] {
        let name = cut_middle(&pod.name, name_columns);
        let span = pod.since.map(|at| short_span(seconds_between(at, style.now))).unwrap_or_default();
        let state = clean(&pod.state);
        let line = cut(&format!("  {name:name_columns$}  {state}  {span}"), width);
        let line = line.trim_end();
        // The colour is for the state alone, where all of it is there.
        lines.push(match line.split_once(&state) {
            Some((before, after)) => format!("{before}{}{after}", style.paint.text(tone(pod.phase), &state)),
            None => line.to_owned(),
        });
    }
    if pods.len() > shown && room > 0 {
        lines.push(cut(&format!("  and {} more", pods.len() - shown), width));
    }
    lines.extend(told.iter().cloned());
    lines.truncate(max.max(1));
    lines
}

fn summary(tree: &Tree, seconds: i64) -> String {
    let done = tree.updated_replicas.clamp(0, tree.wanted_updated_replicas.max(0));
    let share = |of: usize| {
        let (done, wanted) =
            (usize::try_from(done).unwrap_or(0), usize::try_from(tree.wanted_updated_replicas).unwrap_or(0));
        (done * of).checked_div(wanted).unwrap_or(of)
    };
    let filled = share(BAR_COLUMNS);
    format!(
        "[{}{}] {done}/{} updated, {}/{} available{}, {}",
        "#".repeat(filled),
        ".".repeat(BAR_COLUMNS - filled),
        tree.wanted_updated_replicas,
        tree.available_replicas,
        tree.replicas,
        if tree.paused { ", paused" } else { "" },
        short_span(seconds)
    )
}

/// What puts these lines over as many that were drawn before.
pub fn redrawn(lines: &[String], drawn_before: usize) -> String {
    let back = if drawn_before > 0 { format!("\x1b[{drawn_before}A\r\x1b[J") } else { String::new() };
    format!("{back}{}", lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::phase::Phase;
    use crate::cli::terminal::Paint;
    use crate::cli::tree::{Made, Note, PodNode};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn sample(pods: i64) -> Tree {
        let pod = |ordinal: i64| PodNode {
            name: format!("web-{ordinal}"),
            ordinal: Some(ordinal),
            phase: if ordinal == 0 { Phase::Available } else { Phase::Rebuilding },
            state: "rebuilding".into(),
            since: Some(at(0)),
            ready: false,
            made: Made::InPlace,
            patched_at: None,
            restarts: 0,
            created_at: None,
            node: None,
            ip: None,
        };
        Tree {
            namespace: "ns".into(),
            name: "web".into(),
            created_at: None,
            replicas: pods,
            ready_replicas: 1,
            available_replicas: 1,
            updated_replicas: pods / 2,
            wanted_updated_replicas: pods,
            paused: false,
            deleting: false,
            revisions: Vec::new(),
            unknown_revision: (0..pods).map(pod).collect(),
            missing: Vec::new(),
            missing_count: 0,
            notes: vec![Note { about: "Progressing".into(), message: "why".into(), is_trouble: false }],
        }
    }

    fn drawn(pods: i64, width: usize, max: usize) -> Vec<String> {
        board(&sample(pods), at(-60), Style { paint: Paint { on: false }, width: Some(width), now: at(5) }, max)
    }

    #[test]
    fn a_bar_and_the_pods_under_way_are_drawn() {
        assert_eq!(
            drawn(3, 80, 10),
            [
                "[######..............] 1/3 updated, 1/3 available, 65s",
                "  web-2  rebuilding  5s",
                "  web-1  rebuilding  5s",
                "Progressing: why",
            ]
        );
    }

    #[test]
    fn thousands_of_pods_fit_any_terminal() {
        for (width, max) in [(80, 24), (20, 5), (5, 2), (1, 1), (80, 1)] {
            let lines = drawn(5000, width, max);
            assert!(lines.len() <= max, "{lines:?}");
            assert!(lines.iter().all(|line| columns(line) <= width), "{lines:?}");
        }
        assert!(drawn(5000, 80, 10).contains(&"  and 4992 more".to_owned()));
        assert!(drawn(0, 80, 10)[0].starts_with("[####################] 0/0"));
    }
}
