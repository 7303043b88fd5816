//! What happens to each Pod, as a plan reports it.

use std::collections::BTreeMap;

use super::forecast::End;
use super::report::{Found, PodAction, PodReport, WaveReport};
use crate::model::ValidSpec;
use crate::model::pod::parent_and_ordinal;
use crate::plan::explain::Verdict;

/// The strongest of what the waves do to one Pod, the first wave that it is in, and why.
#[derive(Clone, Copy)]
struct Moved<'a> {
    action: PodAction,
    wave: usize,
    why: &'a str,
}

/// Every Pod that is there or would be, by ordinal.
pub fn pods(found: &Found<'_>, waves: &[WaveReport]) -> Vec<PodReport> {
    let mut moved: BTreeMap<&str, Moved<'_>> = BTreeMap::new();
    for wave in waves {
        for one in &wave.pods {
            let now = Moved { action: one.action, wave: wave.number, why: &one.why };
            let known = moved.entry(&one.name).or_insert(now);
            if is_stronger(one.action, known.action) {
                (known.action, known.why) = (one.action, &one.why);
            }
        }
    }
    let start = found.start;
    let spec = ValidSpec::parse(&start.set.spec).ok();
    let there = start.pods.keys().chain(found.forecast.last.pods.keys());
    let mut names: Vec<String> = there.map(ToString::to_string).collect();
    names.extend(moved.keys().map(ToString::to_string));
    if let Some(spec) = spec.as_ref().filter(|_| is_cut_short(found)) {
        names.extend(spec.slots.ordinals().iter().map(|ordinal| format!("{}-{ordinal}", start.set.name)));
    }
    names.sort_by_cached_key(|name| (parent_and_ordinal(name).map(|(_, ordinal)| ordinal), name.clone()));
    names.dedup();
    names.into_iter().map(|name| pod(found, spec.as_ref(), &name, moved.get(name.as_str()).copied())).collect()
}

fn is_cut_short(found: &Found<'_>) -> bool {
    found.explanation.is_some() && found.forecast.end == End::CutShort
}

fn is_stronger(one: PodAction, other: PodAction) -> bool {
    let rank = |action: PodAction| match action {
        PodAction::Recreate => 3,
        PodAction::Remove => 4,
        PodAction::InPlace => 2,
        PodAction::Create => 5,
        PodAction::Release => 1,
        PodAction::None | PodAction::Adopt | PodAction::GrowClaims | PodAction::Prepare => 0,
    };
    rank(one) > rank(other)
}

fn pod(found: &Found<'_>, spec: Option<&ValidSpec>, name: &str, moved: Option<Moved<'_>>) -> PodReport {
    let outlook = found.explanation.and_then(|explanation| explanation.pods.get(name));
    let verdict = outlook.map_or(&Verdict::Current, |outlook| &outlook.verdict);
    let mut report = PodReport {
        name: name.to_owned(),
        action: PodAction::None,
        wave: moved.map(|moved| moved.wave),
        containers: Vec::new(),
        held_by: None,
        would: None,
        why: None,
    };
    let held_by = match spec {
        Some(spec) if spec.on_delete => Some("onDelete"),
        Some(spec) if spec.rolling.paused => Some("paused"),
        _ if outlook.is_some_and(|outlook| outlook.held) => Some("partition"),
        _ if matches!(verdict, Verdict::Blocked { .. }) => Some("inPlaceOnly"),
        // One without a reason only waits to be looked at.
        _ if matches!(verdict, Verdict::Waits { why } if !why.is_empty()) => Some("denied"),
        _ => None,
    };
    let (would, why) = match verdict {
        Verdict::Current => (None, None),
        Verdict::InPlace { .. } => (Some(PodAction::InPlace), None),
        Verdict::Recreate { why } => (Some(PodAction::Recreate), Some(why.clone())),
        Verdict::Blocked { why } | Verdict::Waits { why } => (None, Some(why.clone())),
    };
    if let Some(moved) = moved {
        (report.action, report.why) = (moved.action, Some(moved.why.to_owned()));
    }
    // What is beyond the last wave that was played through is told by what is known of the Pod alone.
    let later = left_over(found, spec, name).or_else(|| would.filter(|_| held_by.is_none()).zip(Some(why.clone())));
    if let Some((action, why)) = later.filter(|_| is_cut_short(found))
        && (moved.is_none() || is_stronger(action, report.action))
    {
        (report.action, report.why) = (action, why);
    } else if moved.is_none() && *verdict != Verdict::Current {
        report.held_by = held_by.or(Some("waiting"));
        // By hand, it is deleted, whatever could be done in place.
        report.would = if held_by == Some("onDelete") { Some(PodAction::Recreate) } else { would };
        report.why = why;
    }
    if let (PodAction::InPlace | PodAction::None, Verdict::InPlace { containers, .. }) = (report.action, verdict) {
        report.containers = containers.iter().map(ToString::to_string).collect();
    }
    report
}

/// A Pod that is to come or to go when the forecast ends.
fn left_over(found: &Found<'_>, spec: Option<&ValidSpec>, name: &str) -> Option<(PodAction, Option<String>)> {
    let (_, ordinal) = parent_and_ordinal(name)?;
    let is_there = found.forecast.last.pods.contains_key(name);
    match (is_there, spec?.slots.contains(ordinal)) {
        (false, true) if !found.start.pods.contains_key(name) => Some((PodAction::Create, None)),
        (true, false) => Some((PodAction::Remove, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::forecast::tests::{changed, image, merge, run, run_within, settled, spec};
    use super::super::report::{Report, report};
    use super::*;
    use crate::model::{Snapshot, TemplateAnswer};
    use crate::plan::Question;
    use crate::plan::explain::{Explained, Explanation, explain};

    fn explained(mut snapshot: Snapshot) -> (Snapshot, Explanation) {
        for _ in 0..10 {
            match explain(&snapshot) {
                Explained::Known(explanation) => return (snapshot, explanation),
                Explained::Ask(questions) => {
                    for question in questions {
                        let Question::DefaultedTemplate { hash, .. } = question else { panic!("{question:?}") };
                        snapshot.answers.templates.insert(hash, TemplateAnswer::Unavailable);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("it asks for ever");
    }

    /// The plan of a change, played through only as far as `looks` goes.
    fn planned(before: &Value, patch: Value, looks: usize) -> Report {
        planned_from(settled(before), before, patch, looks)
    }

    fn planned_from(there: Snapshot, before: &Value, patch: Value, looks: usize) -> Report {
        let mut after = before.clone();
        merge(&mut after, patch);
        let start = changed(there, &after);
        let forecast = run_within(start.clone(), looks);
        let (start, explanation) = explained(start);
        report(Found {
            start: &start,
            exists: true,
            explanation: Some(&explanation),
            forecast: &forecast,
            refused: None,
            spec_fields: Vec::new(),
            notes: Vec::new(),
        })
    }

    const SHORT: usize = 9000;

    #[test]
    fn pods_beyond_the_last_wave_are_counted_by_what_happens_to_them() {
        let before = spec(json!({"replicas": 60}));
        let in_place = planned(&before, image("v2"), SHORT);
        assert!(in_place.summary.waves < 60, "{} waves", in_place.summary.waves);
        let counts = |report: &Report| (report.summary.in_place, report.summary.recreated, report.summary.held);
        assert_eq!((counts(&in_place), in_place.exit().0), ((60, 0, 0), 2));
        let anew = json!({"template": {"spec": {"hostNetwork": true}}});
        let anew = planned(&before, anew, SHORT);
        assert_eq!((counts(&anew), anew.exit().0), ((0, 60, 0), 3));
        assert!(
            anew.pods[0].wave.is_none() && anew.pods[0].why.as_ref().is_some_and(|why| why.contains("hostNetwork"))
        );
        let mut partition = image("v2");
        merge(&mut partition, json!({"updateStrategy": {"rollingUpdate": {"partition": 10}}}));
        let partition = planned(&before, partition, SHORT);
        assert_eq!((counts(&partition), partition.exit().0), ((50, 0, 10), 2));
    }

    #[test]
    fn a_pod_that_is_re_created_last_is_not_overlooked() {
        let partition = |count: u8| json!({"updateStrategy": {"rollingUpdate": {"partition": count}}});
        let before = spec(json!({"replicas": 60, "template": {"spec": {"hostNetwork": true}}}));
        let mut middle = before.clone();
        merge(&mut middle, json!({"template": {"spec": {"hostNetwork": null}}}));
        merge(&mut middle, partition(1));
        let there = run(changed(settled(&before), &middle)).last;
        let mut patch = image("v2");
        merge(&mut patch, partition(0));
        let mixed = planned_from(there, &middle, patch, SHORT);
        assert_eq!((mixed.summary.in_place, mixed.summary.recreated, mixed.exit().0), (59, 1, 3));
    }

    #[test]
    fn pods_that_come_and_go_beyond_the_last_wave_are_counted() {
        let before = spec(json!({"replicas": 60, "podManagementPolicy": "OrderedReady"}));
        let down = planned(&before, json!({"replicas": 5}), 100);
        assert!(down.summary.waves < 55, "{} waves", down.summary.waves);
        assert_eq!((down.summary.removed, down.exit().0), (55, 3));
        let up = planned(&before, json!({"replicas": 200}), 9000);
        assert!(up.summary.waves < 140, "{} waves", up.summary.waves);
        assert_eq!((up.summary.created, up.exit().0), (140, 2));
    }

    #[test]
    fn a_plan_that_is_played_through_says_the_same() {
        let before = spec(json!({"replicas": 7}));
        let whole = planned(&before, image("v2"), 1_000_000);
        assert_eq!((whole.summary.in_place, whole.summary.waves, whole.exit().0), (7, 7, 2));
        assert_eq!(run(settled(&before)).waves.len(), 0);
    }
}
