//! What `kubectl asts plan` says is what then happens: random changes of sets, each planned first and then made, and the
//! plan compared with the watch of what the manager did.
//!
//! `ASTS_PLAN_CHANGES=400` makes so many changes in all, `ASTS_SEED` others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::plugin::{self, Called};
use crate::harness::manifest::{merge, rolling_update, with};
use crate::harness::recorder::{Recorder, Seen};
use crate::harness::space::{is_ready, ordinal, pod_condition, pod_name, revision_label, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, image, set};
use crate::{ensure, ensure_eq};

/// Sets that are changed at the same time, each in a namespace.
const LANES: u64 = 6;
const CHANGES_DEFAULT: u64 = 102;
const SEED_DEFAULT: u64 = 11;
const SETTLE_SECONDS: u64 = 90;

/// Numbers that a seed repeats (SplitMix64, Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub async fn what_is_planned_is_what_happens(space: Space) -> Result {
    let (changes, seed) = (number("ASTS_PLAN_CHANGES", CHANGES_DEFAULT), number("ASTS_SEED", SEED_DEFAULT));
    let started = Instant::now();
    // A recorder catches up with a whole namespace, which must come to rest for it.
    let lanes = (0..LANES).map(async |lane| {
        let own = space.suite.space("plan-lane").await?;
        Lane::new(own, lane, seed).run(changes.div_ceil(LANES)).await
    });
    let mut counts = Counts::new();
    for lane in futures::future::try_join_all(lanes).await? {
        for (what, count) in lane {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("plans compared in {} s, seed {seed}: {counts:?}", started.elapsed().as_secs());
    let moved = counts.get("Pods in place").zip(counts.get("Pods re-created"));
    ensure!(changes < 50 || moved.is_some(), "too little happened: {counts:?}");
    Ok(())
}

fn manifest(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet",
        "metadata": {"name": name}, "spec": spec,
    })
}

type Counts = BTreeMap<&'static str, u64>;

/// One set, changed again and again.
struct Lane {
    space: Space,
    name: String,
    seed: u64,
    dice: Dice,
    /// The spec as it is now.
    spec: Value,
}

impl Lane {
    fn new(space: Space, lane: u64, seed: u64) -> Lane {
        let name = format!("set{lane}");
        let policy = if lane.is_multiple_of(2) { "Parallel" } else { "OrderedReady" };
        let more = json!({
            "replicas": 4,
            "podManagementPolicy": policy,
            "template": {"spec": {"containers": [{
                "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "MODE", "value": "0"}],
                "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}},
            }]}},
        });
        let manifest = set(&name, with(more, rolling_update(json!({"maxUnavailable": 1 + lane % 3}))));
        Lane { space, name, seed, dice: Dice(seed.wrapping_mul(1000) + lane), spec: manifest["spec"].clone() }
    }

    async fn run(mut self, changes: u64) -> Result<Counts> {
        self.space.create(manifest(&self.name, &self.spec)).await?;
        self.space.settled(&self.name).await?;
        let recorder = self.space.record().await?;
        let mut counts = Counts::new();
        for change in 0..changes {
            let patch = self.draw();
            let told = format!("{} change {change} of ASTS_SEED={}: {patch}", self.name, self.seed);
            self.one_change(&recorder, patch, &mut counts)
                .await
                .map_err(|failure| Failure(format!("{told}\n{failure}")))?;
        }
        Ok(counts)
    }

    /// A merge patch of the spec, as some user would make it.
    fn draw(&mut self) -> Value {
        let mut patch = json!({});
        for _ in 0..=self.dice.below(2) {
            let one = self.draw_one();
            merge(&mut patch, one);
        }
        let standing = self.spec.pointer("/updateStrategy/rollingUpdate/paused") == Some(&json!(true))
            || self.spec.pointer("/updateStrategy/type") == Some(&json!("OnDelete"));
        let only = self.spec.pointer("/updateStrategy/rollingUpdate/podUpdatePolicy") == Some(&json!("InPlaceOnly"));
        if only && !self.dice.one_in(3) {
            merge(&mut patch, rolling_update(json!({"podUpdatePolicy": "InPlaceIfPossible"})));
        }
        if standing && !self.dice.one_in(3) {
            merge(&mut patch, rolling_update(json!({"paused": false, "maxUnavailable": 2})));
        }
        if patch.pointer("/updateStrategy/type") == Some(&json!("OnDelete")) {
            patch["updateStrategy"] = json!({"type": "OnDelete", "rollingUpdate": null});
        }
        patch
    }

    fn draw_one(&mut self) -> Value {
        let pick = |dice: &mut Dice, bound| dice.below(bound);
        match self.dice.below(21) {
            0..=3 => {
                let now = self.spec["template"]["spec"]["containers"][0]["image"].clone();
                let others: Vec<String> =
                    ["v1", "v2", "v3"].into_iter().map(image).filter(|it| now != json!(it)).collect();
                let which = usize::try_from(self.dice.below(2)).unwrap_or(0);
                self.container("image", json!(others[which]))
            }
            4 => {
                let value = pick(&mut self.dice, 3).to_string();
                self.container("env", json!([{"name": "MODE", "value": value}]))
            }
            5 => json!({"template": {"metadata": {"labels": {"tier": format!("t{}", pick(&mut self.dice, 3))}}}}),
            6 => json!({"template": {"metadata": {"annotations": {"note": pick(&mut self.dice, 3).to_string()}}}}),
            7..=8 => {
                let at = format!("2026-01-01T00:00:{:02}Z", pick(&mut self.dice, 60));
                json!({"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}})
            }
            9 => {
                let cpu = format!("{}m", 10 + 5 * pick(&mut self.dice, 3));
                self.container("resources", json!({"requests": {"cpu": cpu}, "limits": {"memory": "64Mi"}}))
            }
            10 => {
                let command = json!(["/server", format!("--n={}", pick(&mut self.dice, 2))]);
                self.container("command", command)
            }
            11 => rolling_update(json!({"partition": pick(&mut self.dice, 4)})),
            12 => rolling_update(json!({"partition": 0, "paused": false})),
            13 => rolling_update(json!({"maxUnavailable": 1 + pick(&mut self.dice, 3)})),
            14 => json!({"replicas": 2 + pick(&mut self.dice, 4)}),
            15 => rolling_update(json!({"paused": pick(&mut self.dice, 2) == 0})),
            16 => {
                let reserved = if self.dice.one_in(2) { json!([]) } else { json!([pick(&mut self.dice, 4)]) };
                json!({"reserveOrdinals": reserved})
            }
            17 => {
                let index = pick(&mut self.dice, 4).to_string();
                let term =
                    json!({"weight": 5, "matchSelector": {"matchLabels": {"apps.kubernetes.io/pod-index": index}}});
                let none = self.dice.one_in(2);
                let unordered =
                    if none { Value::Null } else { json!({"priorityStrategy": {"weightPriority": [term]}}) };
                rolling_update(json!({"unorderedUpdate": unordered}))
            }
            18 => {
                let env = if self.dice.one_in(3) { "Patch" } else { "Annotations" };
                rolling_update(json!({"inPlaceUpdateStrategy": {"env": env}}))
            }
            19 => json!({"minReadySeconds": pick(&mut self.dice, 2)}),
            _ if self.dice.one_in(3) => json!({"updateStrategy": {"type": "OnDelete"}}),
            _ => {
                let policy = ["InPlaceIfPossible", "ReCreate", "InPlaceOnly"];
                let policy = policy[usize::try_from(pick(&mut self.dice, 3)).unwrap_or(0)];
                rolling_update(json!({"podUpdatePolicy": policy}))
            }
        }
    }

    /// The containers with one field otherwise: a merge patch takes lists whole.
    fn container(&mut self, field: &str, value: Value) -> Value {
        let mut container = self.spec["template"]["spec"]["containers"][0].clone();
        container[field] = value;
        // A second change of the same patch begins with the first.
        self.spec["template"]["spec"]["containers"][0] = container.clone();
        json!({"template": {"spec": {"containers": [container]}}})
    }

    async fn one_change(&mut self, recorder: &Recorder, patch: Value, counts: &mut Counts) -> Result {
        merge(&mut self.spec, patch.clone());
        self.outlast(&patch).await;
        let before = self.space.pods_of(&self.name).await?;
        self.space.recorders_catch_up().await?;
        let seen = recorder.pods().len();
        let plan = self.plan(&patch).await?;
        self.space.edit(&self.name, patch).await?;
        self.ends_as(&plan).await?;
        let after = self.space.pods_of(&self.name).await?;
        let log = recorder.pods().split_off(seen);
        let happened = Happened::of(&self.name, &before, &after, &log);
        compare(&plan, &happened)
            .map_err(|failure| Failure(format!("{failure}\nplanned: {plan}\nhappened: {happened:?}")))?;
        for (what, action) in [
            ("Pods in place", "inPlace"),
            ("Pods re-created", "recreate"),
            ("Pods made", "create"),
            ("Pods removed", "remove"),
        ] {
            *counts.entry(what).or_default() +=
                happened.actions.values().filter(|done| **done == action).count() as u64;
        }
        *counts.entry("changes").or_default() += 1;
        *counts.entry("waves").or_default() += plan["waves"].as_array().map_or(0, Vec::len) as u64;
        *counts
            .entry(if happened.actions.is_empty() { "changes without a move" } else { "changes with moves" })
            .or_default() += 1;
        if self.dice.one_in(4) {
            let left = self.call(&[&self.name, "-o", "json"], None).await?;
            let left: Value = serde_json::from_str(&left.out)?;
            ensure_eq!(left["waves"], json!([]), "waves that are left when all is done");
        }
        Ok(())
    }

    /// Waits until every Pod has been Ready for as long as is about to be asked of it: the manager begins with Pods that
    /// are not available, and which those are must not change between the plan and the change.
    async fn outlast(&self, patch: &Value) {
        let asked = patch.get("minReadySeconds").and_then(Value::as_u64).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(1200 * asked)).await;
    }

    /// Half of the plans are made of a patch, half of the whole manifest, which cannot say that a field is to go.
    async fn plan(&mut self, patch: &Value) -> Result<Value> {
        let takes_away = has_null(patch);
        let called = if takes_away || self.dice.one_in(2) {
            let patch = json!({"spec": patch}).to_string();
            self.call(&[&self.name, "-o", "json", "-p", &patch], None).await?
        } else {
            let manifest = manifest(&self.name, &self.spec);
            self.call(&["-f", "-", "-o", "json"], Some(manifest.to_string())).await?
        };
        let code = called.code;
        ensure!(matches!(code, 0 | 2 | 3), "the plan failed: {called:?}");
        let plan: Value = serde_json::from_str(&called.out).context(called.err)?;
        ensure_eq!(plan["summary"]["exitCode"], json!(code), "exit code");
        Ok(plan)
    }

    /// Calls the plugin while the other lanes go on.
    async fn call(&self, arguments: &[&str], input: Option<String>) -> Result<Called> {
        let space = self.space.clone();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let call = move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            plugin::plan(&space, &arguments, input.as_deref())
        };
        tokio::task::spawn_blocking(call).await?
    }

    /// Waits until the set stands as the plan says, with all its Pods Ready and nothing left to be done.
    async fn ends_as(&self, plan: &Value) -> Result {
        let reasons: Vec<&str> =
            plan["blocked"].as_array().into_iter().flatten().filter_map(|one| one["reason"].as_str()).collect();
        let mut calm_since: Option<(Instant, String)> = None;
        eventually(seconds(SETTLE_SECONDS), &format!("it ends as planned, with {reasons:?}"), async || {
            let status = self.space.fresh_status(&self.name).await?;
            let progressing = self.space.condition(&self.name, "Progressing").await?;
            let reason = progressing.reason.clone().unwrap_or_default();
            let pods = self.space.pods_of(&self.name).await?;
            let looks =
                format!("{reason} {:?}", pods.iter().map(|pod| &pod.metadata.resource_version).collect::<Vec<_>>());
            let as_planned = reasons.contains(&reason.as_str()) || (reasons.is_empty() && reason == "Complete");
            let at_rest = pods.iter().all(is_ready) && status.disrupted.is_empty();
            // A standing set may be about to go on.
            let calm = if reason == "Complete" { Duration::ZERO } else { Duration::from_millis(1500) };
            if !(as_planned && at_rest) {
                calm_since = None;
                return Err(Failure(format!("{progressing:?}, disrupted {:?}", status.disrupted)));
            }
            match &calm_since {
                Some((since, before)) if *before == looks && since.elapsed() >= calm => Ok(()),
                Some((_, before)) if *before == looks => Err(Failure("not calm for long".to_owned())),
                _ if calm.is_zero() => Ok(()),
                _ => {
                    calm_since = Some((Instant::now(), looks));
                    Err(Failure("not calm yet".to_owned()))
                }
            }
        })
        .await?;
        self.space.recorders_catch_up().await
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().any(has_null),
        other => other.is_null(),
    }
}

/// What the watch shows.
#[derive(Debug, Default)]
struct Happened {
    actions: BTreeMap<String, &'static str>,
    /// Pods in the order in which something began with them.
    order: Vec<String>,
}

impl Happened {
    fn of(set: &str, before: &[Pod], after: &[Pod], log: &[Seen<Pod>]) -> Happened {
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
        happened
    }
}

fn compare(plan: &Value, happened: &Happened) -> Result {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let planned: BTreeMap<String, String> = list(&plan["pods"])
        .iter()
        .filter(|pod| pod["action"] != "none")
        .filter_map(|pod| Some((pod["name"].as_str()?.to_owned(), pod["action"].as_str()?.to_owned())))
        .collect();
    let done: BTreeMap<String, String> =
        happened.actions.iter().map(|(name, action)| (name.clone(), (*action).to_owned())).collect();
    ensure_eq!(planned, done, "what happens to each Pod, planned and done");
    let mut order: Vec<(String, usize)> = Vec::new();
    for wave in list(&plan["waves"]) {
        let number = usize::try_from(wave["number"].as_u64().unwrap_or_default())?;
        for one in list(&wave["pods"]) {
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
