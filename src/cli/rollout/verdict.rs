//! Whether a rollout is done, from the set alone, in the words of `kubectl rollout status`.

use crate::api::names::conditions as types;
use crate::api::spec::UpdateStrategyType;
use crate::api::{AdvancedStatefulSet, Condition};
use crate::cli::target::RESOURCE;
use crate::model::ValidSpec;

/// How a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Waiting(String),
    Done(String),
    /// It will not be done by itself.
    Failed(String),
}

/// What a set says of its rollout.
pub fn verdict(set: &AdvancedStatefulSet) -> Verdict {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let type_ = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_).unwrap_or_default();
    if type_ == UpdateStrategyType::OnDelete {
        return Verdict::Failed("rollout status is only available for RollingUpdate strategy type".into());
    }
    if !is_observed(set) {
        return Verdict::Waiting(format!("Waiting for {RESOURCE} spec update to be observed..."));
    }
    let progressing = condition(set, types::PROGRESSING);
    let reason = progressing.and_then(|one| one.reason.as_deref()).unwrap_or_default();
    let message = with_failure(set, progressing.and_then(|one| one.message.as_deref()).unwrap_or_default());
    let stuck = progressing.is_some_and(|one| one.status == "False");
    let updated = set.status.as_ref().map_or(0, |status| status.updated_replicas);
    match reason {
        "ProgressDeadlineExceeded" => {
            Verdict::Failed(format!("{RESOURCE} {name:?} exceeded its progress deadline: {message}"))
        }
        _ if stuck => Verdict::Failed(format!("{RESOURCE} {name:?} cannot be rolled out ({reason}): {message}")),
        "Complete" => Verdict::Done(format!("{RESOURCE} {name:?} successfully rolled out")),
        "Partitioned" => {
            Verdict::Done(format!("partitioned roll out complete: {updated} new pods have been updated..."))
        }
        _ => Verdict::Waiting(waiting(set, name)),
    }
}

/// What the apiserver refuses, or why no Pod can be made: the cause of what else is waited for.
pub fn failure(set: &AdvancedStatefulSet) -> Option<String> {
    let one = condition(set, types::REPLICA_FAILURE).filter(|one| one.status == "True")?;
    let (reason, message) = (one.reason.as_deref().unwrap_or_default(), one.message.as_deref().unwrap_or_default());
    Some(format!("{} ({reason}): {message}", types::REPLICA_FAILURE))
}

/// A message, after the failure that it may come from.
pub fn with_failure(set: &AdvancedStatefulSet, message: &str) -> String {
    match failure(set) {
        Some(failure) if message.is_empty() || failure.contains(message) => failure,
        Some(failure) => format!("{failure}; {message}"),
        None => message.to_owned(),
    }
}

/// What is said of a set whose present spec the manager has not seen.
pub fn unseen(set: &AdvancedStatefulSet) -> Option<String> {
    let seen = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    let generation = set.metadata.generation.unwrap_or(0);
    (!is_observed(set)).then(|| format!("the manager has seen generation {seen} of {generation}: does it run?"))
}

/// How many Pods are to be there, and how many of them on the update revision.
pub fn wanted(set: &AdvancedStatefulSet) -> (i64, i64) {
    let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    match ValidSpec::parse(&set.spec) {
        Ok(spec) => {
            let slots = whole(spec.slots.len());
            (slots, slots - whole(spec.rolling.partition).min(slots))
        }
        Err(_) => {
            let replicas = i64::from(set.spec.replicas.unwrap_or(1));
            (replicas, replicas)
        }
    }
}

/// The manager has seen the present spec.
pub fn is_observed(set: &AdvancedStatefulSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    observed > 0 && observed >= set.metadata.generation.unwrap_or(0)
}

pub fn is_paused(set: &AdvancedStatefulSet) -> bool {
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.paused).unwrap_or(false)
}

pub fn condition<'a>(set: &'a AdvancedStatefulSet, type_: &str) -> Option<&'a Condition> {
    set.status.as_ref()?.conditions.iter().find(|one| one.type_ == type_)
}

fn waiting(set: &AdvancedStatefulSet, name: &str) -> String {
    let status = set.status.clone().unwrap_or_default();
    let (replicas, updates) = wanted(set);
    let updated = i64::from(status.updated_replicas);
    let what = if updated < updates {
        format!("{updated} out of {updates} new pods have been updated...")
    } else if i64::from(status.replicas) > replicas {
        format!("{} old pods are pending termination...", i64::from(status.replicas) - replicas)
    } else {
        format!("{} of {replicas} updated pods are available...", status.available_replicas)
    };
    let paused = if is_paused(set) { " (the rollout is paused)" } else { "" };
    format!("Waiting for {RESOURCE} {name:?} rollout to finish: {what}{paused}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(strategy: Value, generation: i64, status: Value) -> AdvancedStatefulSet {
        serde_json::from_value(json!({
            "apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet",
            "metadata": {"name": "web", "generation": generation},
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "updateStrategy": strategy,
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn progressing(status: &str, reason: &str) -> Value {
        json!([{"type": "Progressing", "status": status, "reason": reason, "message": "why"}])
    }

    #[test]
    fn the_verdict_is_in_the_words_of_kubectl() {
        let counts = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3});
        let with = |conditions: Value| {
            let mut status = counts.clone();
            status["conditions"] = conditions;
            status
        };
        let told = |set: &AdvancedStatefulSet| match verdict(set) {
            Verdict::Waiting(text) => format!("waiting {text}"),
            Verdict::Done(text) => format!("done {text}"),
            Verdict::Failed(text) => format!("failed {text}"),
        };
        let kind = "advancedstatefulset.apps.asts.dev";
        for (set, expected) in [
            (set(json!({}), 2, Value::Null), format!("waiting Waiting for {kind} spec update to be observed...")),
            (
                set(json!({}), 3, with(progressing("True", "Complete"))),
                format!("waiting Waiting for {kind} spec update to be observed..."),
            ),
            (
                set(json!({}), 2, with(progressing("True", "Complete"))),
                format!("done {kind} \"web\" successfully rolled out"),
            ),
            (
                set(json!({}), 2, with(progressing("True", "WaitingForPods"))),
                format!(
                    "waiting Waiting for {kind} \"web\" rollout to finish: 2 out of 3 new pods have been updated..."
                ),
            ),
            (
                set(json!({"rollingUpdate": {"paused": true}}), 2, with(progressing("True", "Paused"))),
                format!(
                    "waiting Waiting for {kind} \"web\" rollout to finish: 2 out of 3 new pods have been updated... (the rollout is paused)"
                ),
            ),
            (
                set(json!({"rollingUpdate": {"partition": 1}}), 2, with(progressing("True", "Partitioned"))),
                "done partitioned roll out complete: 2 new pods have been updated...".to_owned(),
            ),
            (
                set(json!({"rollingUpdate": {"partition": 1}}), 2, with(progressing("True", "WaitingForPods"))),
                format!("waiting Waiting for {kind} \"web\" rollout to finish: 3 of 3 updated pods are available..."),
            ),
            (
                set(json!({}), 2, with(progressing("False", "ProgressDeadlineExceeded"))),
                format!("failed {kind} \"web\" exceeded its progress deadline: why"),
            ),
            (
                set(json!({}), 2, with(progressing("False", "InvalidSpec"))),
                format!("failed {kind} \"web\" cannot be rolled out (InvalidSpec): why"),
            ),
            (
                set(json!({"type": "OnDelete"}), 2, with(progressing("True", "OnDelete"))),
                "failed rollout status is only available for RollingUpdate strategy type".to_owned(),
            ),
        ] {
            assert_eq!(told(&set), expected);
        }
    }

    #[test]
    fn what_is_refused_is_told_first() {
        let conditions = json!([
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "web-2 waits"},
            {"type": "ReplicaFailure", "status": "True", "reason": "QuotaExceeded", "message": "exceeded quota: q"},
        ]);
        let status = json!({"observedGeneration": 2, "replicas": 3, "conditions": conditions});
        let Verdict::Failed(text) = verdict(&set(json!({}), 2, status)) else { panic!() };
        let end = "exceeded its progress deadline: ReplicaFailure (QuotaExceeded): exceeded quota: q; web-2 waits";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn pods_that_are_to_go_are_waited_for() {
        let status = json!({"observedGeneration": 2, "replicas": 5, "updatedReplicas": 3, "availableReplicas": 5});
        let Verdict::Waiting(text) = verdict(&set(json!({}), 2, status)) else { panic!() };
        assert!(text.ends_with("rollout to finish: 2 old pods are pending termination..."), "{text}");
    }
}
