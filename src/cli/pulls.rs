//! Images that nodes pull ahead of a rollout (`prePull`), as the helper Pods show it. Values only.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::output::clean;
use super::phase::{Phase, seconds_between, short_span};
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
    /// What the node does, as the middle of a sentence.
    pub state: &'static str,
    /// The end of that sentence.
    pub message: String,
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
    let (phase, state, message) = if let Some((image, error)) = failed {
        (Phase::Failing, "cannot pull", format!("{image} ({error})"))
    } else if pulled.images.iter().all(|image| image.pulled) {
        (Phase::Deleting, "has", all)
    } else if facts.is_terminating() {
        (Phase::Deleting, "no longer pulls", all)
    } else if facts.is_terminal() {
        let why = pulled.rejected.as_deref().unwrap_or("the kubelet did not say why");
        (Phase::Failing, "turned the helper away", why.to_owned())
    } else {
        (Phase::Pulling, "pulls", all)
    };
    let pods = outdated.get(&node).cloned().unwrap_or_default();
    let (name, since) = (facts.name.to_string(), facts.created_at);
    Some(Pull { name, node, images, pods, phase, state, message, since })
}

impl Pull {
    /// `n1 pulls for 3s: app:v2, web-2 and 1 more wait`. Where there is little room, the end may be cut off.
    pub fn words(&self, now: Timestamp) -> String {
        let span = match self.since.filter(|_| self.phase != Phase::Deleting) {
            Some(since) => format!(" for {}", short_span(seconds_between(since, now))),
            None => String::new(),
        };
        let waits = match self.pods.as_slice() {
            [] => String::new(),
            [only] => format!(", {only} waits"),
            [first, more @ ..] => format!(", {first} and {} more wait", more.len()),
        };
        clean(&format!("{} {}{span}: {}{waits}", self.node, self.state, self.message))
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
        let words = pull.words("2026-01-01T00:00:03Z".parse().unwrap());
        (pull.phase, words.strip_suffix(", web-2 and 1 more wait").unwrap().to_owned())
    }

    #[test]
    fn a_helper_is_told_by_what_its_node_does() {
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "no such host"}});
        let none = json!({});
        let pulling = told(helper("Pending", waiting("ContainerCreating"), none.clone()));
        assert_eq!(pulling, (Phase::Pulling, "n1 pulls for 3s: app:v2".into()));
        let failing = told(helper("Pending", waiting("ErrImagePull"), none.clone()));
        assert_eq!(failing, (Phase::Failing, "n1 cannot pull for 3s: app:v2 (ErrImagePull: no such host)".into()));
        let done = json!({"terminated": {"reason": "StartError", "exitCode": 128}});
        assert_eq!(told(helper("Failed", done, none)), (Phase::Deleting, "n1 has: app:v2".into()));
        let away = told(helper("Failed", json!({}), json!({"reason": "OutOfpods", "containerStatuses": []})));
        assert_eq!(away, (Phase::Failing, "n1 turned the helper away for 3s: OutOfpods".into()));
    }
}
