//! Images that nodes pull ahead of a rollout (`prePull`), as the helper Pods show it. Values only.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::phase::Phase;
use super::seen::PodSeen;

/// What one node pulls, by one helper Pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pull {
    /// The helper Pod.
    pub name: String,
    pub node: String,
    pub images: Vec<String>,
    /// Pods of the set on this node that are still to be updated, the next one first.
    #[serde(rename = "for")]
    pub pods: Vec<String>,
    pub phase: Phase,
    /// The phase in words.
    pub state: String,
    pub since: Option<Timestamp>,
}

/// The helpers by name. `outdated` has the names of Pods by their node.
pub fn pulls(helpers: &[Arc<PodSeen>], outdated: &BTreeMap<String, Vec<String>>) -> Vec<Pull> {
    let mut pulls: Vec<Pull> = helpers.iter().filter_map(|helper| pull(helper, outdated)).collect();
    pulls.sort_by(|one, other| one.name.cmp(&other.name));
    pulls
}

fn pull(helper: &PodSeen, outdated: &BTreeMap<String, Vec<String>>) -> Option<Pull> {
    let facts = &helper.facts;
    let pulled = facts.helper.as_ref()?;
    let node = facts.node.as_deref().unwrap_or("-").to_owned();
    let images: Vec<String> = pulled.images.iter().map(|image| image.image.to_string()).collect();
    let all = images.join(", ");
    let failed = pulled.images.iter().find_map(|image| Some((&image.image, image.error.as_deref()?)));
    let has_all = pulled.images.iter().all(|image| image.pulled);
    let (phase, state) = if let Some((image, error)) = failed {
        (Phase::Failing, format!("{node} cannot pull {image} ({error})"))
    } else if has_all || facts.is_terminating() {
        let words = if has_all { format!("{node} has {all}") } else { format!("{node} no longer pulls {all}") };
        (Phase::Deleting, words)
    } else if facts.is_terminal() {
        let why = pulled.rejected.as_deref().unwrap_or("the kubelet did not say why");
        (Phase::Failing, format!("{node} turned the helper away ({why})"))
    } else {
        (Phase::Pulling, format!("{node} pulls {all}"))
    };
    let pods = outdated.get(&node).cloned().unwrap_or_default();
    Some(Pull { name: facts.name.to_string(), node, images, pods, phase, state, since: facts.created_at })
}

impl Pull {
    /// `, web-2 and 1 more wait`.
    pub fn who_waits(&self) -> String {
        match self.pods.as_slice() {
            [] => String::new(),
            [only] => format!(", {only} waits"),
            [first, more @ ..] => format!(", {first} and {} more wait", more.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn helper(phase: &str, state: Value, more: Value) -> Arc<PodSeen> {
        let mut pod = json!({
            "metadata": {
                "name": "web-x-pull", "uid": "h", "labels": {"apps.asts.dev/pre-pull": "u"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [
                    {"apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "name": "web", "uid": "u"},
                ],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "image-0", "image": "app:v2"}]},
            "status": {
                "phase": phase,
                "containerStatuses": [{"name": "image-0", "image": "", "imageID": "x", "restartCount": 0, "ready": false, "state": state}],
            },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            pod["status"][key] = value.clone();
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn told(helper: Arc<PodSeen>) -> (Phase, String) {
        let outdated = [("n1".to_owned(), vec!["web-2".to_owned(), "web-0".to_owned()])].into();
        let pull = pulls(&[helper], &outdated).remove(0);
        assert_eq!(pull.images, ["app:v2"]);
        assert_eq!(pull.who_waits(), ", web-2 and 1 more wait");
        (pull.phase, pull.state)
    }

    #[test]
    fn a_helper_is_told_by_what_its_node_does() {
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "no such host"}});
        let none = json!({});
        let pulling = told(helper("Pending", waiting("ContainerCreating"), none.clone()));
        assert_eq!(pulling, (Phase::Pulling, "n1 pulls app:v2".into()));
        let failing = told(helper("Pending", waiting("ErrImagePull"), none.clone()));
        assert_eq!(failing, (Phase::Failing, "n1 cannot pull app:v2 (ErrImagePull: no such host)".into()));
        let done = json!({"terminated": {"reason": "StartError", "exitCode": 128}});
        assert_eq!(told(helper("Failed", done, none)), (Phase::Deleting, "n1 has app:v2".into()));
        let away = told(helper("Failed", json!({}), json!({"reason": "OutOfpods", "containerStatuses": []})));
        assert_eq!(away, (Phase::Failing, "n1 turned the helper away (OutOfpods)".into()));
    }
}
