//! A plan in one line of the trace.

use serde_json::Value;

use crate::plan::Plan;
use crate::plan::action::{Action, RevisionAction, StatusWrite};

pub fn action_name(action: &Action) -> String {
    action.object().rsplit(' ').next().unwrap_or_default().to_owned()
}

/// The hook state that a patch brings.
fn state_in(patch: &Value) -> String {
    let state = patch.pointer("/metadata/labels/lifecycle.apps.asts.dev~1state");
    state.map_or_else(String::new, |state| format!(" {state}"))
}

pub fn summary(plan: &Plan) -> String {
    let mut parts: Vec<String> = plan
        .revisions
        .iter()
        .map(|action| match action {
            RevisionAction::Create { name, number, .. } => format!("create {name} as {number}"),
            RevisionAction::Renumber { name, number, .. } => format!("renumber {name} to {number}"),
            RevisionAction::NoteClaims { name, note, .. } => format!("note {note} on {name}"),
            RevisionAction::Adopt { name, .. } => format!("adopt {name}"),
            RevisionAction::Delete { name, .. } => format!("delete {name}"),
        })
        .collect();
    if plan.status_write != StatusWrite::None {
        let ledger: Vec<String> = plan
            .status
            .disrupted
            .iter()
            .map(|entry| format!("{}/{}@{}→{}", entry.ordinal, entry.uid, entry.resource_version, entry.revision))
            .collect();
        let progressing = plan.status.conditions.iter().find(|one| one.type_ == "Progressing");
        let why = progressing
            .map(|one| format!("{} {}", one.reason.as_deref().unwrap_or(""), one.message.as_deref().unwrap_or("")));
        parts.push(format!(
            "status ({} ready, {} updated [{}], {} ledger [{}], {})",
            plan.status.ready_replicas,
            plan.status.updated_replicas,
            plan.status.updated_ordinals.as_deref().unwrap_or(""),
            if plan.status.current_revision == plan.status.update_revision {
                "current=update"
            } else {
                "current≠update"
            },
            ledger.join(" "),
            why.unwrap_or_default(),
        ));
    }
    let describe = |action: &Action| {
        let what = match action {
            Action::CreatePod { .. } | Action::CreateClaim { .. } => "create".to_owned(),
            Action::DeletePod { why, .. } => format!("delete {why:?}"),
            Action::PatchPod { why, patch, .. } => format!("patch {why:?}{}", state_in(patch)),
            Action::PatchPodStatus { why, patch, .. } => format!("gate {why:?}{}", state_in(patch)),
            Action::PatchClaim { .. } => "own".to_owned(),
            Action::GrowClaim { .. } => "grow".to_owned(),
            Action::CreateHelper { .. } => "make helper".to_owned(),
            Action::DeleteHelper { .. } => "remove helper".to_owned(),
            Action::AdoptPod { .. } => "adopt".to_owned(),
            Action::ReleasePod { .. } => "release".to_owned(),
        };
        format!("{what} {}", action.object())
    };
    parts.extend(plan.actions.iter().flatten().map(describe));
    parts.extend(plan.disruptions.iter().map(|action| format!("DISRUPT {}", describe(action))));
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
}
