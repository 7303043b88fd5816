//! What a watch showed of a change, beside what was planned.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::harness::Result;
use crate::harness::recorder::Seen;
use crate::harness::space::{is_ready, ordinal, pod_condition, pod_name, revision_label, uid};
use crate::{ensure, ensure_eq};

/// What the watch shows.
#[derive(Debug, Default)]
pub struct Happened {
    pub actions: BTreeMap<String, &'static str>,
    /// Pods in the order in which something began with them.
    pub order: Vec<String>,
    /// The most Pods at once that had been in service and were taken out of it to be updated.
    pub down: usize,
    /// Claims that were made and that grew.
    pub claims: BTreeMap<String, &'static str>,
}

/// What a namespace's claims ask for.
pub type Sizes = BTreeMap<String, String>;

impl Happened {
    pub fn of(set: &str, before: &[Pod], after: &[Pod], log: &[Seen<Pod>]) -> Happened {
        let by_name = |pods: &[Pod]| -> BTreeMap<String, Pod> {
            pods.iter().map(|pod| (pod_name(pod).to_owned(), pod.clone())).collect()
        };
        let (before, after) = (by_name(before), by_name(after));
        let mut happened = Happened::default();
        for seen in log {
            let pod = seen.object();
            let name = pod_name(pod);
            let of_set = name.rsplit_once('-').is_some_and(|(prefix, _)| prefix == set) && ordinal(name) >= 0;
            let begins = match before.get(name) {
                None => true,
                Some(first) => {
                    uid(first) != uid(pod)
                        || matches!(seen, Seen::Gone(_))
                        || pod.metadata.deletion_timestamp.is_some()
                        || revision_label(first) != revision_label(pod)
                        || pod_condition(pod, "InPlaceUpdateReady").is_some_and(|(status, _)| status == "False")
                }
            };
            if of_set && begins && !happened.order.iter().any(|known| known == name) {
                happened.order.push(name.to_owned());
            }
        }
        for name in before.keys().chain(after.keys()) {
            let action = match (before.get(name), after.get(name)) {
                (Some(old), Some(new)) if uid(old) != uid(new) => "recreate",
                (Some(old), Some(new)) if revision_label(old) != revision_label(new) => "inPlace",
                (Some(_), Some(_)) => continue,
                (Some(_), None) => "remove",
                (None, _) => "create",
            };
            happened.actions.insert(name.clone(), action);
        }
        happened.down = most_down(&before, &happened.actions, log);
        happened
    }

    pub fn with_claims(mut self, before: &Sizes, after: &Sizes) -> Happened {
        for (name, size) in after {
            match before.get(name) {
                None => drop(self.claims.insert(name.clone(), "create")),
                Some(old) if old != size => drop(self.claims.insert(name.clone(), "grow")),
                Some(_) => {}
            }
        }
        self
    }
}

fn most_down(before: &BTreeMap<String, Pod>, actions: &BTreeMap<String, &'static str>, log: &[Seen<Pod>]) -> usize {
    let is_counted = |name: &str| {
        before.get(name).is_some_and(is_ready) && matches!(actions.get(name), Some(&("inPlace" | "recreate")))
    };
    let (mut down, mut most) = (BTreeSet::new(), 0);
    for seen in log {
        let pod = seen.object();
        let name = pod_name(pod);
        let serves = !matches!(seen, Seen::Gone(_)) && pod.metadata.deletion_timestamp.is_none() && is_ready(pod);
        if serves {
            down.remove(name);
        } else if is_counted(name) {
            down.insert(name.to_owned());
        }
        most = most.max(down.len());
    }
    most
}

/// Whether a plan was right: what is done to each Pod and claim, in which order, and how many at once.
pub fn compare(plan: &Value, happened: &Happened) -> Result {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let planned: BTreeMap<String, String> = list(&plan["pods"])
        .iter()
        .filter(|pod| pod["action"] != "none" && pod["action"] != "growClaims")
        .filter_map(|pod| Some((pod["name"].as_str()?.to_owned(), pod["action"].as_str()?.to_owned())))
        .collect();
    let done: BTreeMap<String, String> =
        happened.actions.iter().map(|(name, action)| (name.clone(), (*action).to_owned())).collect();
    ensure_eq!(planned, done, "what happens to each Pod, planned and done");
    let claims: BTreeMap<String, String> = list(&plan["claims"])
        .iter()
        .filter_map(|claim| Some((claim["name"].as_str()?.to_owned(), claim["action"].as_str()?.to_owned())))
        .collect();
    let of_claims = happened.claims.iter().map(|(name, action)| (name.clone(), (*action).to_owned())).collect();
    ensure_eq!(claims, of_claims, "what happens to each claim, planned and done");
    let in_wave = |wave: &Value| {
        // A Pod that is made takes budget too, which an update gets as soon as it is there.
        let takes_budget = |one: &Value| ["inPlace", "recreate", "create"].iter().any(|it| one["action"] == *it);
        list(&wave["pods"]).iter().filter(|one| takes_budget(one)).count()
    };
    let at_once = list(&plan["waves"]).iter().map(in_wave).max().unwrap_or_default();
    ensure!(happened.down <= at_once, "{} Pods were down at once, the widest wave has {at_once}", happened.down);
    let mut order: Vec<(String, usize)> = Vec::new();
    for wave in list(&plan["waves"]) {
        let number = usize::try_from(wave["number"].as_u64().unwrap_or_default())?;
        for one in list(&wave["pods"]).iter().filter(|one| one["action"] != "growClaims") {
            let name = one["name"].as_str().unwrap_or_default().to_owned();
            ensure!(!order.iter().any(|(known, _)| *known == name), "{name} is in two waves");
            order.push((name, number));
        }
    }
    ensure_eq!(order.len(), happened.order.len(), "Pods that something begins with");
    let begun = |name: &str| happened.order.iter().position(|known| known == name);
    let widest = order.iter().map(|(_, wave)| order.iter().filter(|(_, other)| other == wave).count()).max();
    for (index, (earlier, wave)) in order.iter().enumerate() {
        for (later_index, (later, later_wave)) in order.iter().enumerate().skip(index + 1) {
            if wave == later_wave {
                continue;
            }
            // The next Pod begins as soon as one of the wave before is back, and what is planned at once is written at
            // once: only Pods closer together than a wave is wide may change places.
            let is_close = later_index - index < widest.unwrap_or(1) && *later_wave == wave + 1;
            // A removal waits for all Pods, or for the budget, while the others go on one by one.
            let may_swap = is_close || happened.actions.get(earlier) == Some(&"remove");
            let in_order = begun(earlier) < begun(later);
            ensure!(in_order || may_swap, "{later} of wave {later_wave} began before {earlier} of wave {wave}");
        }
    }
    Ok(())
}
