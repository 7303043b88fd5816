//! Says what is wrong with a set that cannot be understood. Its Pods are left as they are.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cache::SetKey;
use super::cache::set::Poisoned;
use super::client::{At, Kind, Verb};
use super::error::CallError;
use super::events::Subject;
use super::memory::SetMemory;
use super::queue::Verdict;
use super::reconcile::Reconciler;
use crate::api::names::conditions;
use crate::plan::PlannedEvent;

const REASON: &str = "InvalidSpec";

impl Reconciler {
    pub(super) async fn report_poisoned(&self, key: &SetKey, poisoned: &Poisoned, memory: &mut SetMemory) -> Verdict {
        let report = (poisoned.generation, poisoned.message.clone());
        if memory.reported.as_ref() == Some(&report) {
            return Verdict::REST;
        }
        tracing::warn!(set = %key, "left alone: {}", poisoned.message);
        if let Err(error) = self.write_report(key, poisoned).await {
            tracing::warn!(set = %key, "the condition was not written: {error}");
            return Verdict::BACKOFF;
        }
        let subject =
            Subject { namespace: (&*key.namespace).into(), name: poisoned.name.clone(), uid: poisoned.uid.clone() };
        let message = poisoned.message.clone();
        self.events.send(&subject, &[PlannedEvent { warning: true, reason: REASON, action: "Validate", message }]);
        memory.reported = Some(report);
        Verdict::REST
    }

    async fn write_report(&self, key: &SetKey, poisoned: &Poisoned) -> Result<(), CallError> {
        let live: Value = self.apiserver.read(Verb::Get, At::one(Kind::Set, &key.namespace, &key.name)).await?;
        match report_patch(&live, &poisoned.message, self.apiserver.clock.now()) {
            Some(patch) => self.patch_set_status(key, &patch).await,
            None => Ok(()),
        }
    }
}

/// The patch that adds the condition and leaves those of others; `None` where it is there.
fn report_patch(live: &Value, message: &str, now: Timestamp) -> Option<Value> {
    let mut held = live.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let generation = live.pointer("/metadata/generation").and_then(Value::as_i64);
    let ours = |condition: &Value| condition.get("type").and_then(Value::as_str) == Some(conditions::REPLICA_FAILURE);
    let old = held.iter().find(|condition| ours(condition)).cloned().unwrap_or(Value::Null);
    let said = |field: &str| old.get(field).and_then(Value::as_str);
    if said("message") == Some(message) && said("status") == Some("True") {
        return None;
    }
    let since = match said("lastTransitionTime") {
        Some(since) if said("status") == Some("True") => since.to_owned(),
        _ => now.round(jiff::Unit::Second).unwrap_or(now).to_string(),
    };
    held.retain(|condition| !ours(condition));
    held.push(json!({
        "type": conditions::REPLICA_FAILURE,
        "status": "True",
        "reason": REASON,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }));
    let version = live.pointer("/metadata/resourceVersion");
    Some(json!({"metadata": {"resourceVersion": version}, "status": {"conditions": held}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_added_once_and_others_stay() {
        let mut live = json!({
            "metadata": {"generation": 3, "resourceVersion": "7"},
            "status": {"conditions": [{"type": "Mine", "status": "True"}]},
        });
        let patch = report_patch(&live, "bad", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(patch["status"]["conditions"][0]["type"], "Mine");
        assert_eq!(patch["status"]["conditions"][1]["message"], "bad");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        live["status"] = patch["status"].clone();
        assert_eq!(report_patch(&live, "bad", Timestamp::UNIX_EPOCH), None);
        assert!(report_patch(&live, "worse", Timestamp::UNIX_EPOCH).is_some());
    }
}
