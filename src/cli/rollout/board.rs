//! How a rollout is drawn in a terminal: a bar, and a line for each Pod under way.

use jiff::Timestamp;

use crate::cli::get::table::{Style, notes, tone};
use crate::cli::output::clean;
use crate::cli::phase::{Phase, seconds_between, short_span};
use crate::cli::pulls::Pull;
use crate::cli::terminal::{Paint, columns, cut, cut_middle};
use crate::cli::tree::{PodNode, Tree, under_way};

const BAR_COLUMNS: usize = 20;
/// Most columns of a Pod's name.
const NAME_COLUMNS_MAX: usize = 40;

/// The lines: at most so many.
pub fn board(tree: &Tree, since: Timestamp, style: Style, max: usize) -> Vec<String> {
    let width = style.width.unwrap_or(usize::MAX);
    let mut lines = vec![cut(&summary(tree, seconds_between(since, style.now)), width)];
    let told = notes(tree, style);
    let told = &told[..told.len().min(max.saturating_sub(1) / 3)];
    let pulls = tree.pulls.iter().map(|pull| Line::of_pull(pull, style.now));
    let all: Vec<Line> = pulls.chain(under_way(tree).into_iter().map(|pod| Line::of_pod(pod, style.now))).collect();
    let room = max.saturating_sub(1 + told.len());
    // One line says how many more there are.
    let shown = if all.len() <= room { all.len() } else { room.saturating_sub(1) };
    let name_columns = all[..shown].iter().map(|one| columns(one.name)).max().unwrap_or(0).min(NAME_COLUMNS_MAX);
    lines.extend(all[..shown].iter().map(|one| one.drawn(name_columns, width, style.paint)));
    if all.len() > shown && room > 0 {
        lines.push(cut(&format!("  and {} more", all.len() - shown), width));
    }
    lines.extend(told.iter().cloned());
    lines.truncate(max.max(1));
    lines
}

/// A Pod under way, or a node that pulls ahead.
struct Line<'a> {
    name: &'a str,
    phase: Phase,
    state: String,
    span: String,
}

impl<'a> Line<'a> {
    fn of_pod(pod: &'a PodNode, now: Timestamp) -> Line<'a> {
        let span = pod.since.map(|at| short_span(seconds_between(at, now))).unwrap_or_default();
        Line { name: &pod.name, phase: pod.phase, state: clean(&pod.state), span }
    }

    fn of_pull(pull: &'a Pull, now: Timestamp) -> Line<'a> {
        Line { name: &pull.name, phase: pull.phase, state: pull.words(now), span: String::new() }
    }

    fn drawn(&self, name_columns: usize, width: usize, paint: Paint) -> String {
        let name = cut_middle(self.name, name_columns);
        let Line { phase, state, span, .. } = self;
        let line = cut(&format!("  {name:name_columns$}  {state}  {span}"), width);
        let line = line.trim_end();
        // The colour is for the state alone, where all of it is there.
        match line.split_once(state) {
            Some((before, after)) => format!("{before}{}{after}", paint.text(tone(*phase), state)),
            None => line.to_owned(),
        }
    }
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
    use crate::cli::tree::{Made, Note};

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
            pulls: Vec::new(),
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
    fn what_nodes_pull_ahead_is_drawn_first() {
        let mut tree = sample(1);
        let images = vec!["app:v2".into()];
        let (state, message) = ("pulls", "app:v2".into());
        let (name, node, since) = ("web-x-pull".into(), "n1".into(), Some(at(2)));
        tree.pulls = vec![Pull { name, node, images, pods: Vec::new(), phase: Phase::Pulling, state, message, since }];
        let lines = board(&tree, at(0), Style { paint: Paint { on: false }, width: Some(80), now: at(5) }, 10);
        assert_eq!(lines[1], "  web-x-pull  n1 pulls for 3s: app:v2");
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
