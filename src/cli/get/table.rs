//! The tree of a set as lines of a table.

use jiff::Timestamp;

use super::layout::Layout;
use crate::cli::output::clean;
use crate::cli::phase::{Phase, seconds_between, short_span};
use crate::cli::pulls::Pull;
use crate::cli::terminal::{Paint, Tone, wrapped};
use crate::cli::tree::{Made, Note, PodNode, RevisionNode, Tree};

/// How a table is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub paint: Paint,
    /// `None`: as wide as it is.
    pub width: Option<usize>,
    pub now: Timestamp,
}

/// Something on the tree: branches, a name, and a cell for each column.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub branch: String,
    pub name: String,
    /// State, how it was made, restarts, age, node, IP.
    pub cells: [String; 6],
    pub tone: Tone,
    pub name_tone: Tone,
    pub kind: Kind,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Pod,
    /// The set, or what Pods hang below.
    Group,
    /// Its state takes the room of the other columns.
    Pull,
}

/// The lines of a set: the table, then the notes.
pub fn lines(tree: &Tree, style: Style) -> Vec<String> {
    let mut lines = table(&rows(tree, style.now), style);
    lines.extend(notes(tree, style));
    lines
}

/// What there is to be said besides the tree.
pub fn notes(tree: &Tree, style: Style) -> Vec<String> {
    let told = |note: &Note| {
        let tone = if note.is_trouble { Tone::Bad } else { Tone::Busy };
        let text = format!("{}: {}", clean(&note.about), clean(&note.message));
        let mut lines = style.width.map_or_else(|| vec![text.clone()], |width| wrapped(&text, width));
        if let Some((about, message)) = lines[0].split_once(':') {
            lines[0] = format!("{}:{message}", style.paint.text(tone, about));
        }
        lines
    };
    tree.notes.iter().flat_map(told).collect()
}

fn rows(tree: &Tree, now: Timestamp) -> Vec<Row> {
    let age = |at: Option<Timestamp>| at.map(|at| short_span(seconds_between(at, now))).unwrap_or_default();
    let mut state = format!(
        "{}/{} ready, {}/{} updated",
        tree.ready_replicas, tree.replicas, tree.updated_replicas, tree.wanted_updated_replicas
    );
    state += if tree.paused { ", paused" } else { "" };
    state += if tree.deleting { ", being deleted" } else { "" };
    let done = tree.available_replicas >= tree.replicas && tree.updated_replicas >= tree.wanted_updated_replicas;
    let top = Row {
        name: tree.name.clone(),
        cells: [state, String::new(), String::new(), age(tree.created_at), String::new(), String::new()],
        tone: if done { Tone::Good } else { Tone::Busy },
        name_tone: Tone::Strong,
        kind: Kind::Group,
        ..Row::default()
    };
    let mut branches = Vec::new();
    // A revision without Pods is history, unless the set names it.
    let shown = tree.revisions.iter().filter(|one| one.is_update || one.is_current || !one.pods.is_empty());
    for revision in shown {
        branches.push((revision_row(revision, age(revision.created_at)), pod_rows(&revision.pods, now)));
    }
    if !tree.unknown_revision.is_empty() {
        let row = group("unknown revision".into(), Tone::Bad);
        branches.push((row, pod_rows(&tree.unknown_revision, now)));
    }
    if !tree.pulls.is_empty() {
        let row = group("pulled ahead".into(), Tone::Busy);
        branches.push((row, tree.pulls.iter().map(|pull| pull_row(pull, now)).collect()));
    }
    if tree.missing_count > 0 {
        let row = group(format!("missing ({})", tree.missing_count), Tone::Busy);
        let names = tree.missing.iter().map(|name| Row { name: name.clone(), ..Row::default() }).collect();
        branches.push((row, names));
    }
    let mut rows = vec![top];
    let last_branch = branches.len();
    for (index, (mut row, children)) in branches.into_iter().enumerate() {
        let is_last = index + 1 == last_branch;
        row.branch = if is_last { "└─ " } else { "├─ " }.into();
        rows.push(row);
        let (stem, last_child) = (if is_last { "   " } else { "│  " }, children.len());
        for (index, child) in children.into_iter().enumerate() {
            let end = if index + 1 == last_child { "└─ " } else { "├─ " };
            rows.push(Row { branch: format!("{stem}{end}"), ..child });
        }
    }
    rows
}

fn group(name: String, name_tone: Tone) -> Row {
    Row { name, name_tone, kind: Kind::Group, ..Row::default() }
}

fn revision_row(revision: &RevisionNode, age: String) -> Row {
    let role = match (revision.is_current, revision.is_update) {
        (true, true) => "current",
        (true, false) => "being replaced",
        (false, true) => "being rolled out",
        (false, false) => "",
    };
    let pods = match revision.pods.len() {
        1 => "1 Pod".to_owned(),
        count => format!("{count} Pods"),
    };
    let state = if role.is_empty() { pods } else { format!("{role}, {pods}") };
    Row {
        name: format!("revision {} {}", revision.number, revision.name),
        cells: [state, String::new(), String::new(), age, String::new(), String::new()],
        kind: Kind::Group,
        ..Row::default()
    }
}

fn pod_rows(pods: &[PodNode], now: Timestamp) -> Vec<Row> {
    pods.iter().map(|pod| pod_row(pod, now)).collect()
}

fn pod_row(pod: &PodNode, now: Timestamp) -> Row {
    let span = |at: Timestamp| short_span(seconds_between(at, now));
    let state = match pod.since.filter(|_| pod.phase != Phase::Available) {
        Some(since) => format!("{} for {}", pod.state, span(since)),
        None => pod.state.clone(),
    };
    let made = match (pod.made, pod.patched_at) {
        (Made::InPlace, Some(at)) => format!("in place {} ago", span(at)),
        (Made::InPlace, None) => "in place".to_owned(),
        (Made::Created, _) => "created".to_owned(),
    };
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), clean);
    let age = pod.created_at.map(span).unwrap_or_default();
    Row {
        name: pod.name.clone(),
        cells: [clean(&state), made, pod.restarts.to_string(), age, text(&pod.node), text(&pod.ip)],
        tone: tone(pod.phase),
        ..Row::default()
    }
}

fn pull_row(pull: &Pull, now: Timestamp) -> Row {
    let mut cells: [String; 6] = Default::default();
    cells[0] = pull.words(now);
    Row { name: pull.name.clone(), cells, tone: tone(pull.phase), kind: Kind::Pull, ..Row::default() }
}

/// The colour of a phase.
pub fn tone(phase: Phase) -> Tone {
    match phase {
        Phase::Available => Tone::Good,
        Phase::Failing => Tone::Bad,
        Phase::Deleting | Phase::Pending => Tone::Faint,
        _ => Tone::Busy,
    }
}

fn table(rows: &[Row], style: Style) -> Vec<String> {
    let layout = Layout::of(rows, style.width);
    let titles = Row { name: "NAME".into(), cells: layout.titles(), ..Row::default() };
    let rows = rows.iter().flat_map(|row| layout.lines(row, style));
    std::iter::once(layout.line(&titles, style)).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::columns;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn pod(name: &str, phase: Phase, state: &str) -> PodNode {
        PodNode {
            name: name.into(),
            ordinal: Some(0),
            phase,
            state: state.into(),
            since: Some(at(0)),
            ready: true,
            made: Made::InPlace,
            patched_at: Some(at(5)),
            restarts: 1,
            created_at: Some(at(-100)),
            node: Some("node-1".into()),
            ip: Some("10.0.0.1".into()),
        }
    }

    fn sample(name: &str) -> Tree {
        let revision = |number, is_update: bool, pods| RevisionNode {
            name: format!("{name}-{number}"),
            number,
            created_at: Some(at(0)),
            is_current: !is_update,
            is_update,
            change_cause: None,
            pods,
        };
        Tree {
            namespace: "ns".into(),
            name: name.into(),
            created_at: Some(at(-200)),
            replicas: 3,
            ready_replicas: 2,
            available_replicas: 2,
            updated_replicas: 1,
            wanted_updated_replicas: 3,
            paused: false,
            deleting: false,
            revisions: vec![
                revision(2, true, vec![pod(&format!("{name}-2"), Phase::Rebuilding, "rebuilding")]),
                revision(1, false, vec![pod(&format!("{name}-1"), Phase::Available, "ready")]),
            ],
            unknown_revision: Vec::new(),
            pulls: Vec::new(),
            missing: vec![format!("{name}-0")],
            missing_count: 1,
            notes: vec![Note {
                about: "Progressing WaitingForPods".into(),
                message: "Pod web-2\u{1b}[2J is not Ready".into(),
                is_trouble: false,
            }],
        }
    }

    fn drawn(tree: &Tree, width: Option<usize>, on: bool) -> Vec<String> {
        lines(tree, Style { paint: Paint { on }, width, now: at(10) })
    }

    #[test]
    fn a_set_is_drawn_as_a_tree() {
        let expected = "\
NAME                 STATE                    MADE             RESTARTS  AGE    NODE    IP
web                  2/3 ready, 1/3 updated                              3m30s
├─ revision 2 web-2  being rolled out, 1 Pod                             10s
│  └─ web-2          rebuilding for 10s       in place 5s ago  1         110s   node-1  10.0.0.1
├─ revision 1 web-1  being replaced, 1 Pod                               10s
│  └─ web-1          ready                    in place 5s ago  1         110s   node-1  10.0.0.1
└─ missing (1)
   └─ web-0
Progressing WaitingForPods: Pod web-2 [2J is not Ready";
        assert_eq!(drawn(&sample("web"), None, false).join("\n"), expected);
    }

    #[test]
    fn what_is_pulled_ahead_takes_no_room_from_the_pods() {
        let mut tree = sample("web");
        let before = drawn(&tree, Some(80), false);
        tree.pulls.push(Pull {
            name: "web-x-pull".into(),
            node: "node-1".into(),
            images: Vec::new(),
            pods: vec!["web-1".into()],
            phase: Phase::Pulling,
            state: "pulls",
            message: "registry.example/quite/a/long/name:v2".into(),
            since: Some(at(3)),
        });
        let lines = drawn(&tree, Some(80), false);
        assert_eq!(lines[6], "├─ pulled ahead");
        assert_eq!(lines[7].trim(), "│  └─ web-x-pull  node-1 pulls for 7s: registry.example/quite/a/long/name:v2, w…");
        assert!(drawn(&tree, None, false)[7].ends_with("name:v2, web-1 waits"));
        let columns_of = |lines: &[String]| lines[0].split_whitespace().count();
        assert_eq!(columns_of(&lines), columns_of(&before));
    }

    #[test]
    fn eighty_columns_show_all_of_a_usual_pod() {
        let mut tree = sample("web");
        for revision in &mut tree.revisions {
            revision.name = format!("web-{}", "x".repeat(10));
        }
        let expected = "\
NAME         STATE               MADE      RST  AGE   NODE    IP
web  2/3 ready, 1/3 updated, 3m30s old
├─ revision 2 web-xxxxxxxxxx  being rolled out, 1 Pod, 10s old
│  └─ web-2  rebuilding for 10s  in place  1    110s  node-1  10.0.0.1
├─ revision 1 web-xxxxxxxxxx  being replaced, 1 Pod, 10s old
│  └─ web-1  ready               in place  1    110s  node-1  10.0.0.1
└─ missing (1)
   └─ web-0
Progressing WaitingForPods: Pod web-2 [2J is not Ready";
        assert_eq!(drawn(&tree, Some(80), false).join("\n"), expected);
    }

    #[test]
    fn what_is_cut_off_is_said_below_the_pod() {
        let mut tree = sample("web");
        let pod = &mut tree.revisions[0].pods[0];
        pod.state = "cannot pull registry.example/app:v2 (ImagePullBackOff)".into();
        pod.node = Some("ip-10-0-134-22.eu-central-1.compute.internal".into());
        pod.ip = Some("fd00:10:244:1234:5678::12".into());
        let whole = ["cannot pull registry.example/app:v2 (ImagePullBackOff) for 10s", "fd00:10:244:1234:5678::12"];
        for width in [40, 60, 80, 100, 120, 160] {
            let text = drawn(&tree, Some(width), false).join("\n");
            let bare = |text: &str| text.replace([' ', '\n', '│'], "");
            for words in whole.iter().chain(&["ip-10-0-134-22.eu-central-1.compute.internal", "in place", "110s"]) {
                assert!(bare(&text).contains(&bare(words)), "{width}: no {words:?} in\n{text}");
            }
            let restarts = text.contains("RST") || text.contains("RESTARTS") || text.contains("1 restart");
            assert!(restarts, "{width}: no restarts in\n{text}");
        }
        let narrow = drawn(&tree, Some(80), false).join("\n");
        assert!(
            narrow.lines().any(|line| line.starts_with("│       ") && line.contains("ImagePullBackOff")),
            "{narrow}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for name in ["web".to_owned(), "a".repeat(200)] {
            for width in [1, 10, 20, 40, 60, 80, 100, 200] {
                for line in drawn(&sample(&name), Some(width), false) {
                    assert!(columns(&line) <= width, "{width}: {line}");
                }
            }
        }
        let narrow = drawn(&sample(&"a".repeat(200)), Some(80), false);
        assert!(narrow.iter().any(|line| line.contains("a-2 ")), "the ordinal is cut off: {narrow:?}");
    }

    #[test]
    fn colours_change_no_letter() {
        let plain = drawn(&sample("web"), Some(80), false).join("\n");
        let painted = drawn(&sample("web"), Some(80), true).join("\n");
        assert_ne!(plain, painted);
        let mut shown = String::new();
        let mut rest = painted.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            shown += before;
            rest = after.split_once('m').map_or("", |(_, after)| after);
        }
        assert_eq!(shown + rest, plain);
    }
}
