//! Short stories, each with many timings: what the regressions tell, and what shows the mutants that hardly any seed does.

use serde_json::{Value, json};

use super::mutants::Mutant;
use super::script::{Script, Step, Swarm, template};
use super::store::Kind;
use super::workloads::{calm, use_template};

pub const SECOND: i64 = 1000;

/// Mutants that these stories show.
pub const CAUGHT_BY_STORIES: [Mutant; 4] =
    [Mutant::AnswersFromTheView, Mutant::NoFence, Mutant::NoNoteBeforeResize, Mutant::NothingHeard];

pub fn set(replicas: i64, rolling: Value) -> Value {
    json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template("A"),
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 0,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
    })
}

pub fn script(seed: u64, swarm: &Swarm, set: &Value, story: &[(i64, Step)]) -> Script {
    let mut steps = vec![(0, Step::CreateSet)];
    steps.extend_from_slice(story);
    let peace_ms = steps.last().map_or(0, |(at, _)| *at) + 60 * SECOND;
    Script {
        seed,
        swarm: swarm.clone(),
        set: set.clone(),
        steps,
        peace_ms,
        faults: None,
        behind: Vec::new(),
        customised: false,
    }
}

/// One of so many values by the timing, and the timing that is left.
fn split(timing: u64, count: u64) -> (i64, u64) {
    (i64::try_from(timing % count).unwrap_or(0), 1 + timing / count)
}

/// The entry of another controller's disruption, and a view of the Pod from before it.
pub fn an_entry_and_an_old_view(timing: u64) -> Script {
    let story = [
        (60 * SECOND, Step::Freeze { controller: 0, kind: Kind::Pod, milliseconds: 60_000 }),
        (61 * SECOND, Step::Flap { pod: 0, milliseconds: 200 }),
        (65 * SECOND, use_template("B")),
    ];
    script(timing, &calm(2, 30), &set(1, json!({"podUpdatePolicy": "ReCreate"})), &story)
}

/// A crash between the ledger and its disruption, and then nobody wants the disruption any more.
pub fn a_disruption_that_is_not_wanted_any_more(timing: u64) -> Script {
    let story = [
        (60 * SECOND, use_template("B")),
        (60 * SECOND + 1000, Step::Crash(0)),
        (60 * SECOND + 1001, use_template("A")),
    ];
    script(timing, &calm(1, 300), &set(1, json!({"podUpdatePolicy": "ReCreate"})), &story)
}

/// How many crashes [`a_resize_half_done`] tries, from 0.3 to 4 seconds after the template.
pub const RESIZES: u64 = 25;

/// A resize is done and its controller gone before the patch with the label, and the template turns back in that moment.
pub fn a_resize_half_done(timing: u64) -> Script {
    let (step, seed) = split(timing, RESIZES);
    let mut set = set(1, json!({}));
    set["template"] = template("sized");
    let at = 60 * SECOND + 300 + 150 * step;
    let story = [(60 * SECOND, use_template("sized more")), (at, Step::Crash(0)), (at + 1, use_template("sized"))];
    script(seed, &calm(1, 300), &set, &story)
}

/// How many pauses before the node is lost [`a_node_lost_between_two_tags`] tries.
pub const LOSSES: u64 = 4;

/// There and back between two tags of one image, and the node is lost before its kubelet has told of the container in
/// between.
pub fn a_node_lost_between_two_tags(timing: u64) -> Script {
    let (step, seed) = split(timing, LOSSES);
    let mut set = set(1, json!({}));
    set["template"] = template("A");
    let at = 2400;
    let lost = at + 1600 + 300 * step;
    let nodes = |step: fn(usize) -> Step, at: i64| (0..3).map(move |node| (at, step(node)));
    let mut story = vec![(at, use_template("same digest"))];
    story.extend(nodes(Step::LoseNode, lost));
    story.push((lost + 300, use_template("A")));
    story.extend(nodes(Step::FindNode, lost + 60 * SECOND));
    script(seed, &Swarm { status_lag_ms: 2000, ..calm(1, 5) }, &set, &story)
}
