//! What `kubectl asts plan` says is what then happens: random changes of sets, each planned first and then made, and the
//! plan compared with the watch of what the manager did.
//!
//! `ASTS_PLAN_CHANGES=400` makes so many changes in each of the tests here, `ASTS_SEED` others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::draws::{Draws, Nature, beginning};
use super::happened::{Happened, Sizes, compare};
use super::plugin::{self, Called};
use crate::claim_growth::{class_for, resizer};
use crate::harness::dice::Dice;
use crate::harness::manifest::merge;
use crate::harness::recorder::Recorder;
use crate::harness::space::is_ready;
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, set};
use crate::lifecycle::answer;
use crate::{ensure, ensure_eq};

/// Sets that are changed at the same time, each in a namespace.
const LANES: u64 = 8;
/// Of each of the tests here.
const CHANGES_DEFAULT: u64 = 104;
const SEED_DEFAULT: u64 = 11;
const SETTLE_SECONDS: u64 = 90;
/// Volumes that are there for a set's claims.
const VOLUMES: i64 = 12;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub async fn what_is_planned_is_what_happens(space: Space) -> Result {
    compared(&space, 0).await
}

pub async fn what_is_planned_is_what_happens_by_other_dice(space: Space) -> Result {
    compared(&space, 1).await
}

pub async fn what_is_planned_is_what_happens_by_dice_of_their_own(space: Space) -> Result {
    compared(&space, 2).await
}

/// Tests of their own share the time that one would take.
async fn compared(space: &Space, part: u64) -> Result {
    let (changes, seed) = (number("ASTS_PLAN_CHANGES", CHANGES_DEFAULT), number("ASTS_SEED", SEED_DEFAULT) + part);
    let started = Instant::now();
    // A recorder catches up with a whole namespace, which must come to rest for it.
    let lanes = (0..LANES).map(async |lane| {
        let own = space.suite.space("plan-lane").await?;
        Lane::start(own, lane, seed).await?.run(changes.div_ceil(LANES)).await
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
    draws: Draws,
    /// Who answers hooks, or lets claims grow.
    helper: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.helper.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Lane {
    async fn start(space: Space, lane: u64, seed: u64) -> Result<Lane> {
        let name = format!("set{lane}");
        let nature = match lane {
            2 | 7 => Nature::Hooks,
            3 | 6 => Nature::Claims,
            _ => Nature::Plain,
        };
        let class = match nature {
            Nature::Claims => class_for(&space, &name, "1Gi", true, VOLUMES).await?,
            Nature::Plain | Nature::Hooks => String::new(),
        };
        let helper = match nature {
            Nature::Plain => None,
            Nature::Hooks => Some(tokio::spawn(answer(space.pods()))),
            Nature::Claims => Some(tokio::spawn(resizer(space.api()))),
        };
        let spec = set(&name, beginning(nature, lane, &class))["spec"].clone();
        let dice = Dice(seed.wrapping_mul(1000) + lane);
        Ok(Lane { space, name, seed, draws: Draws::new(dice, nature, &class, spec), helper })
    }

    async fn run(mut self, changes: u64) -> Result<Counts> {
        self.space.create(manifest(&self.name, &self.draws.spec)).await?;
        self.space.settled(&self.name).await?;
        let recorder = self.space.record().await?;
        let mut counts = Counts::new();
        for change in 0..changes {
            let patch = if self.draws.one_in(10) {
                let (stuck, mended) = self.draws.stuck_and_mended();
                self.get_stuck(stuck).await?;
                *counts.entry("changes in the middle of a rollout").or_default() += 1;
                mended
            } else {
                self.draws.change()
            };
            let told = format!("{} change {change} of ASTS_SEED={}: {patch}", self.name, self.seed);
            self.one_change(&recorder, patch, &mut counts)
                .await
                .map_err(|failure| Failure(format!("{told}\n{failure}")))?;
        }
        Ok(counts)
    }

    /// Makes a change that no Pod comes back from, and waits until nothing moves any more.
    async fn get_stuck(&self, patch: Value) -> Result {
        const CALM: Duration = Duration::from_secs(4);
        self.space.edit(&self.name, patch).await?;
        let mut calm_since: Option<(Instant, String)> = None;
        eventually(seconds(SETTLE_SECONDS), "it is stuck", async || {
            self.space.fresh_status(&self.name).await?;
            let pods = self.space.pods_of(&self.name).await?;
            ensure!(pods.iter().any(|pod| !is_ready(pod)), "all Pods are Ready");
            let looks = format!("{:?}", pods.iter().map(|pod| &pod.metadata.resource_version).collect::<Vec<_>>());
            match &calm_since {
                Some((since, before)) if *before == looks && since.elapsed() >= CALM => return Ok(()),
                Some((_, before)) if *before == looks => {}
                _ => calm_since = Some((Instant::now(), looks)),
            }
            Err(Failure("not calm for long".to_owned()))
        })
        .await
    }

    async fn sizes(&self) -> Result<Sizes> {
        let claims = self.space.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?.items;
        let size = |claim: PersistentVolumeClaim| {
            let requests = claim.spec?.resources?.requests?;
            Some((claim.metadata.name?, requests.get("storage")?.0.clone()))
        };
        Ok(claims.into_iter().filter_map(size).collect())
    }

    async fn one_change(&mut self, recorder: &Recorder, patch: Value, counts: &mut Counts) -> Result {
        merge(&mut self.draws.spec, patch.clone());
        self.outlast(&patch).await;
        let (before, sizes) = (self.space.pods_of(&self.name).await?, self.sizes().await?);
        self.space.recorders_catch_up().await?;
        let seen = recorder.pods().len();
        let plan = self.plan(&patch).await?;
        self.space.edit(&self.name, patch).await?;
        self.ends_as(&plan).await?;
        let after = self.space.pods_of(&self.name).await?;
        let log = recorder.pods().split_off(seen);
        let happened = Happened::of(&self.name, &before, &after, &log).with_claims(&sizes, &self.sizes().await?);
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
        *counts.entry("claims made or grown").or_default() += happened.claims.len() as u64;
        *counts.entry("changes").or_default() += 1;
        *counts.entry("waves").or_default() += plan["waves"].as_array().map_or(0, Vec::len) as u64;
        *counts
            .entry(if happened.actions.is_empty() { "changes without a move" } else { "changes with moves" })
            .or_default() += 1;
        if self.draws.one_in(4) {
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
        let called = if takes_away || self.draws.one_in(2) {
            let patch = json!({"spec": patch}).to_string();
            self.call(&[&self.name, "-o", "json", "-p", &patch], None).await?
        } else {
            let manifest = manifest(&self.name, &self.draws.spec);
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
