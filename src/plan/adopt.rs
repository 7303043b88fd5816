//! Orphans are taken, Pods that the selector does not match any more are let go.

use std::collections::BTreeMap;

use serde_json::json;

use super::action::Action;
use super::build::controller_reference;
use super::draft::{Context, Draft, target};
use super::view::Holder;

/// How soon to look again at a Pod that stands in the way, should its end go unseen.
const FOREIGN_RECHECK_SECONDS: i64 = 15;

pub fn adopt_and_release(context: Context<'_>, draft: &mut Draft) {
    let set = &context.snapshot.set;
    for pod in &context.view.adopt {
        let patch = json!({"metadata": {
            "uid": pod.uid, "resourceVersion": pod.resource_version,
            "ownerReferences": [controller_reference(set)],
        }});
        let reason = "it has no controller, and the selector and the name match".to_owned();
        draft.act(&pod.name, Action::AdoptPod { target: target(pod), patch: Box::new(patch), reason });
    }
    for pod in &context.view.release {
        let patch = json!({"metadata": {
            "uid": pod.uid, "resourceVersion": pod.resource_version,
            "ownerReferences": [{"$patch": "delete", "uid": set.uid}],
        }});
        let reason = "the selector does not match its labels any more".to_owned();
        draft.act(&pod.name, Action::ReleasePod { target: target(pod), patch: Box::new(patch), reason });
    }
    report_foreign(context, draft);
}

fn report_foreign(context: Context<'_>, draft: &mut Draft) {
    let mut found = BTreeMap::new();
    for slot in &context.view.slots {
        if let Holder::Foreign(why) = &slot.holder {
            found.insert(slot.ordinal, (format!("Pod {} {why}", slot.name), takeover(context, &slot.name)));
        }
    }
    for (message, takeover) in found.into_values() {
        let (told, message) = match takeover {
            Some(how) => (format!("{message}; {how}"), format!("{message}; {how}")),
            None => (format!("{message}; the ordinal waits until it is gone"), message),
        };
        draft.warn("ForeignPod", "Wait", told);
        draft.wait("WaitingForForeignPod", message);
        draft.wake_in(context.view.now, FOREIGN_RECHECK_SECONDS);
    }
}

/// How the Pods of a StatefulSet that runs come to this set: by adoption, with none of them deleted.
fn takeover(context: Context<'_>, pod: &str) -> Option<String> {
    let owner = context.snapshot.foreign.get(pod)?.controller.as_ref()?;
    let kind = match owner.api_version.split('/').next() {
        _ if &*owner.kind != "StatefulSet" => return None,
        Some("apps") => "statefulset",
        Some("apps.kruise.io") => "statefulset.apps.kruise.io",
        _ => return None,
    };
    let (set, owner) = (&context.snapshot.set.name, &owner.name);
    Some(format!(
        "delete no Pod; to have this set take them: kubectl delete asts {set} --cascade=orphan, then kubectl asts adopt \
         {kind}/{owner}"
    ))
}
