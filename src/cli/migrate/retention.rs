//! What `whenDeleted` was before a hand-over. Claims that would go with a set are let go before it is deleted; a note on the
//! set says so, for whoever gives the hand-over up.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::facts;

/// On the set that gives its Pods away: its `whenDeleted`, where a hand-over has set it to `Retain`.
pub const NOTE: &str = "apps.asts.dev/when-deleted";

const WHEN_DELETED: &str = "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted";
const DELETE: &str = "Delete";

/// Whether the set lets its claims go with it, as it is now.
pub fn deletes_claims(set: &DynamicObject) -> bool {
    facts::text(set, WHEN_DELETED) == Some(DELETE)
}

/// Whether a hand-over had it let its claims go.
pub fn is_noted(set: &DynamicObject) -> bool {
    let note = set.metadata.annotations.as_ref().and_then(|annotations| annotations.get(NOTE));
    note.is_some_and(|note| note == DELETE) && !deletes_claims(set)
}

/// Has the set let its claims go, and notes it in the same write.
pub fn let_go() -> Value {
    patch(&json!(DELETE), "Retain")
}

/// Turns that round.
pub fn set_back() -> Value {
    patch(&Value::Null, DELETE)
}

fn patch(note: &Value, when_deleted: &str) -> Value {
    json!({
        "metadata": {"annotations": {NOTE: note}},
        "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted}},
    })
}

/// The set as its user has it.
pub fn as_users(set: &DynamicObject) -> DynamicObject {
    let is_noted = is_noted(set);
    let mut set = set.clone();
    if let Some(annotations) = &mut set.metadata.annotations {
        annotations.remove(NOTE);
    }
    if is_noted && let Some(when_deleted) = set.data.pointer_mut(WHEN_DELETED) {
        *when_deleted = json!(DELETE);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(note: Option<&str>, when_deleted: &str) -> DynamicObject {
        let mut set: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "web", "annotations": {"a": "b"}},
            "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": "Retain"}},
        }))
        .unwrap();
        set.metadata.annotations.as_mut().unwrap().extend(note.map(|note| (NOTE.to_owned(), note.to_owned())));
        set
    }

    #[test]
    fn what_was_noted_is_the_user_s_policy() {
        assert_eq!(as_users(&set(Some("Delete"), "Retain")), set(None, "Delete"));
        assert_eq!(as_users(&set(None, "Retain")), set(None, "Retain"));
        // Set back by hand, with the note left.
        assert_eq!(as_users(&set(Some("Delete"), "Delete")), set(None, "Delete"));
        assert!(!is_noted(&set(Some("Delete"), "Delete")) && is_noted(&set(Some("Delete"), "Retain")));
    }

    #[test]
    fn the_note_comes_with_the_change_and_goes_with_it() {
        assert_eq!(let_go().pointer("/metadata/annotations/apps.asts.dev~1when-deleted"), Some(&json!("Delete")));
        assert_eq!(set_back().pointer("/metadata/annotations/apps.asts.dev~1when-deleted"), Some(&Value::Null));
    }
}
