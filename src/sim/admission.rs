//! What an apiserver makes of an update before it stores it: what is left as it was, and what is refused.

use serde_json::{Value, json};

use super::facts;
use super::store::{Kind, Refused, refused};

const LABEL_LENGTH_MAX: usize = 63;
/// What only the apiserver writes.
const SERVERS_OWN: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Whatever a whole object says of it, the server's own part of the metadata stays.
pub fn keep_identity(old: &Value, new: &mut Value) {
    for field in SERVERS_OWN {
        match old["metadata"].get(field) {
            Some(kept) => new["metadata"][field] = kept.clone(),
            None => drop(new["metadata"].as_object_mut().map(|metadata| metadata.remove(field))),
        }
    }
}

/// A new object, before it is stored.
pub fn of_create(kind: Kind, new: &mut Value) -> Result<(), Refused> {
    if matches!(kind, Kind::Pod | Kind::Set)
        && let Some(fields) = new.as_object_mut()
    {
        fields.remove("status");
    }
    valid_metadata(new)
}

/// An update of the object, or of its status alone.
pub fn of_update(kind: Kind, status_only: bool, old: &Value, new: &mut Value) -> Result<(), Refused> {
    let mut keep = |pointer: &str, field: &str| {
        let kept = old.pointer(&format!("{pointer}/{field}")).cloned();
        if let Some(fields) = new.pointer_mut(pointer).and_then(Value::as_object_mut) {
            match kept {
                Some(kept) => drop(fields.insert(field.to_owned(), kept)),
                None => drop(fields.remove(field)),
            }
        }
    };
    if status_only {
        keep("", "spec");
        keep("/metadata", "ownerReferences");
    } else {
        keep("", "status");
    }
    valid_metadata(new)?;
    let is_new = |name: &&Value| !facts::list(old, "/metadata/finalizers").contains(name);
    if old.pointer("/metadata/deletionTimestamp").is_some()
        && facts::list(new, "/metadata/finalizers").iter().any(|name| is_new(&name))
    {
        return refused(422, "metadata.finalizers: no new finalizers can be added if the object is being deleted");
    }
    let no_image = |container: &Value| facts::text(container, "/image").is_empty();
    if kind == Kind::Pod && facts::list(new, "/spec/containers").iter().any(no_image) {
        return refused(422, "spec.containers.image: Required value");
    }
    let fixed = match kind {
        Kind::Revision => "/data",
        Kind::Claim => "/spec/accessModes",
        _ => return Ok(()),
    };
    if old.pointer(fixed) == new.pointer(fixed) { Ok(()) } else { refused(422, format!("{fixed}: field is immutable")) }
}

fn valid_metadata(new: &Value) -> Result<(), Refused> {
    let labels = new.pointer("/metadata/labels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if value.as_str().is_some_and(|value| value.len() > LABEL_LENGTH_MAX) || key.contains(' ') {
            return refused(422, format!("metadata.labels: Invalid value: {key}"));
        }
    }
    let is_controller = |owner: &&Value| owner.get("controller") == Some(&json!(true));
    if facts::list(new, "/metadata/ownerReferences").iter().filter(is_controller).count() > 1 {
        return refused(422, "metadata.ownerReferences: only one reference can have controller set to true");
    }
    Ok(())
}
