//! A bad way to the apiserver: each test is a set's whole life through a proxy that does one kind of harm,
//! judged by the apiserver's own watch. The tests share a cluster; each has a manager for its namespace.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chaos::with_manager;
use crate::claims::volume_for;
use crate::harness::manager::Manager;
use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::proxy::{Fate, Harm, Proxy};
use crate::harness::recorder::Recorder;
use crate::harness::rest::has_template;
use crate::harness::space::{container_id, image_of, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, Suite, eventually, holds, image, report, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    watches_that_fall_silent_are_noticed_and_begun_again,
    connections_are_dropped,
    answers_are_lost_after_the_write,
    requests_arrive_after_the_manager_has_given_up,
    everything_is_slow,
    writes_meet_conflicts,
    the_apiserver_throttles,
    the_apiserver_fails,
    watches_are_cut,
    watches_are_told_that_their_version_is_too_old,
    everything_goes_wrong_at_once,
    an_outage_longer_than_any_backoff_is_caught_up_on,
];

const REPLICAS: i64 = 5;
const REPLICAS_MOST: i64 = 7;
/// The Pods below are never scaled away.
const REPLICAS_LEAST: i64 = 4;
const BUDGET: usize = 2;
/// What takes moments without harm.
const PATIENCE_SECONDS: u64 = 100;
/// Longer than the manager lets a watch be silent.
const SILENCE_SECONDS: u64 = 70;
/// Longer than the longest pause between two attempts.
const OUTAGE: Duration = Duration::from_secs(45);
const QUIET: Duration = Duration::from_secs(5);
const SEED: u64 = 11;

/// The cluster of these tests, while one of them runs.
static SHARED: tokio::sync::Mutex<Weak<Suite>> = tokio::sync::Mutex::const_new(Weak::new());

async fn shared() -> Result<Arc<Suite>> {
    let mut place = SHARED.lock().await;
    if let Some(suite) = place.upgrade() {
        return Ok(suite);
    }
    let suite = Suite::start_apart().await?;
    with_manager(&suite, Manager::kill)?;
    *place = Arc::downgrade(&suite);
    Ok(suite)
}

/// A namespace whose manager reaches the apiserver through a proxy.
struct Harmed {
    space: Space,
    proxy: Proxy,
    manager: Manager,
}

async fn harmed(name: &str, harm: Harm, body: impl AsyncFnOnce(&mut Harmed) -> Result) -> Result {
    let suite = shared().await?;
    let space = suite.space(name).await?;
    let proxy = Proxy::start(&suite, SEED, harm).await?;
    let arguments = ["--leader-elect=false", "--namespace", &space.namespace];
    let manager = suite.start_manager_with(&proxy.kubeconfig(&suite)?, &arguments)?;
    let mut harmed = Harmed { space, proxy, manager };
    let outcome = body(&mut harmed).await;
    let Harmed { space, mut manager, .. } = harmed;
    let alive = manager.is_alive();
    let outcome = outcome.and_then(|()| alive.then_some(()).context("the manager ended"));
    outcome.map_err(|failure| {
        Failure(format!("{failure}\n\n{}\n{}", report::state(&suite, &space.namespace), manager.tail(60)))
    })
}

fn web(more: Value) -> Value {
    let container = json!([{
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent", "env": [{"name": "MODE", "value": "0"}],
    }]);
    let spec = json!({
        "replicas": REPLICAS,
        "podManagementPolicy": "Parallel",
        "template": {"spec": {"containers": container}},
        "volumeClaimTemplates": [claim_template("data", "1Mi")],
    });
    set("web", with(with(spec, rolling_update(json!({"maxUnavailable": BUDGET}))), more))
}

async fn settled(space: &Space) -> Result {
    space.settled_within("web", PATIENCE_SECONDS).await
}

/// A set is made, updated in place, re-created, scaled up and down, and turned round half way.
async fn life(it: &Harmed) -> Result {
    let space = &it.space;
    for ordinal in 0..REPLICAS_MOST {
        volume_for(space, &format!("data-web-{ordinal}")).await?;
    }
    let recorder = space.record().await?;
    space.create(web(json!({}))).await?;
    settled(space).await?;
    let made = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    settled(space).await?;
    let updated = space.pods_of("web").await?;
    for (old, new) in made.iter().zip(&updated) {
        ensure_eq!(uid(new), uid(old), "UID after an update in place");
        ensure!(container_id(new) != container_id(old), "a container was not updated");
    }
    let mode = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "1"}]);
    space.json_patch("web", mode).await?;
    settled(space).await?;
    let created_again = space.pods_of("web").await?;
    for (old, new) in updated.iter().zip(&created_again) {
        ensure!(uid(new) != uid(old), "a Pod was not re-created");
    }
    space.scale("web", REPLICAS_MOST).await?;
    settled(space).await?;
    space.scale("web", REPLICAS_LEAST).await?;
    settled(space).await?;
    space.set_image("web", "v3").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    space.set_image("web", "v1").await?;
    settled(space).await?;

    space.ordinals_are("web", &[0, 1, 2, 3]).await?;
    for pod in space.pods_of("web").await? {
        ensure_eq!(image_of(&pod), image("v1"), "image");
    }
    ensure_eq!(space.claim_names().await?.len(), usize::try_from(REPLICAS_MOST)?, "claims");
    recorder.keeps_identity()?;
    let worst = recorder.worst_taken_down("web", 0..REPLICAS_LEAST, &BTreeSet::new());
    ensure!(worst > 0, "the watch shows no update at all");
    ensure!(worst <= BUDGET, "{worst} Pods were taken down at once");
    has_template(space, "web").await
}

/// Without harm nothing is written any more.
async fn is_quiet(it: &Harmed) -> Result {
    it.proxy.set(Harm::default());
    it.proxy.end_watches();
    eventually(seconds(PATIENCE_SECONDS), "nothing is written any more", async || {
        let since = Instant::now();
        tokio::time::sleep(QUIET).await;
        let written: Vec<_> = it.proxy.seen().into_iter().filter(|seen| seen.at > since && seen.is_write()).collect();
        ensure!(written.is_empty(), "{written:?}");
        Ok(())
    })
    .await
}

/// A whole life under a harm that must have been done so many times.
async fn lives(name: &str, harm: Harm, least: usize, fate: impl Fn(Fate) -> bool) -> Result {
    harmed(name, harm, async |it| {
        life(it).await?;
        let count = it.proxy.count(fate);
        ensure!(count >= least, "the harm was done {count} times only");
        is_quiet(it).await
    })
    .await
}

async fn connections_are_dropped(_: Space) -> Result {
    lives("dropped", Harm { dropped: 250, ..Harm::default() }, 20, |fate| fate == Fate::Dropped).await
}

async fn answers_are_lost_after_the_write(_: Space) -> Result {
    lives("lost", Harm { unanswered: 250, ..Harm::default() }, 20, |fate| fate == Fate::Unanswered).await
}

async fn requests_arrive_after_the_manager_has_given_up(_: Space) -> Result {
    lives("late", Harm { late: 40, ..Harm::default() }, 3, |fate| fate == Fate::Late).await
}

async fn everything_is_slow(_: Space) -> Result {
    lives("slow", Harm { delay_milliseconds: 400, ..Harm::default() }, 50, |fate| fate == Fate::Passed).await
}

async fn writes_meet_conflicts(_: Space) -> Result {
    let harm = Harm { refused: 250, codes: &[409], ..Harm::default() };
    lives("conflict", harm, 20, |fate| fate == Fate::Refused(409)).await
}

async fn the_apiserver_throttles(_: Space) -> Result {
    let harm = Harm { refused: 150, codes: &[429], ..Harm::default() };
    lives("throttled", harm, 10, |fate| fate == Fate::Refused(429)).await
}

async fn the_apiserver_fails(_: Space) -> Result {
    let harm = Harm { refused: 250, codes: &[500, 503, 504], ..Harm::default() };
    lives("failing", harm, 20, |fate| matches!(fate, Fate::Refused(500..))).await
}

async fn watches_are_cut(_: Space) -> Result {
    let harm = Harm { watch_milliseconds: Some(1500), ..Harm::default() };
    lives("cut", harm, 20, |fate| fate == Fate::Cut).await
}

async fn watches_are_told_that_their_version_is_too_old(_: Space) -> Result {
    let harm = Harm { watch_milliseconds: Some(1500), expired: 500, ..Harm::default() };
    lives("expired", harm, 10, |fate| fate == Fate::Expired).await
}

async fn everything_goes_wrong_at_once(_: Space) -> Result {
    let harm = Harm {
        dropped: 60,
        unanswered: 60,
        late: 5,
        refused: 80,
        codes: &[409, 429, 500, 503],
        delay_milliseconds: 80,
        watch_milliseconds: Some(4000),
        expired: 200,
        held_write: None,
    };
    lives("all", harm, 30, |fate| fate != Fate::Passed).await
}

/// A settled set that is about to be updated, watched from then on.
async fn recorded_rollout(space: &Space) -> Result<Recorder> {
    for ordinal in 0..REPLICAS {
        volume_for(space, &format!("data-web-{ordinal}")).await?;
    }
    space.create(web(json!({}))).await?;
    settled(space).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    Ok(recorder)
}

/// No end, no error: only the time tells.
async fn watches_that_fall_silent_are_noticed_and_begun_again(_: Space) -> Result {
    harmed("silent", Harm::default(), async |it| {
        let space = &it.space;
        let recorder = recorded_rollout(space).await?;
        eventually(seconds(PATIENCE_SECONDS), "the update has begun", async || {
            let begun = space.pods_of("web").await?.iter().any(|pod| image_of(pod) == image("v2"));
            ensure!(begun, "no Pod has the image yet");
            Ok(())
        })
        .await?;
        it.proxy.silence_watches();
        space.settled_within("web", SILENCE_SECONDS).await?;
        let worst = recorder.worst_taken_down("web", 0..REPLICAS, &BTreeSet::new());
        ensure!((1..=BUDGET).contains(&worst), "{worst} Pods were taken down at once");
        recorder.keeps_identity()?;
        has_template(space, "web").await?;
        is_quiet(it).await
    })
    .await
}

async fn an_outage_longer_than_any_backoff_is_caught_up_on(_: Space) -> Result {
    harmed("outage", Harm::default(), async |it| {
        let space = &it.space;
        let recorder = recorded_rollout(space).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        it.proxy.set(Harm { dropped: 1000, ..Harm::default() });
        it.proxy.end_watches();
        // The world goes on meanwhile.
        space.pods().delete("web-0", &Default::default()).await?;
        let by_hand = BTreeSet::from([uid(&space.pod("web-0").await?)]);
        holds(OUTAGE, "the manager lives", async || {
            let tried = it.proxy.seen().iter().filter(|seen| seen.at > begun).count();
            ensure!(tried < 1000, "it asked {tried} times in {:?}", begun.elapsed());
            Ok(())
        })
        .await?;
        space.set_image("web", "v3").await?;
        it.proxy.set(Harm::default());
        settled(space).await?;
        for pod in space.pods_of("web").await? {
            ensure_eq!(image_of(&pod), image("v3"), "image");
        }
        let worst = recorder.worst_taken_down("web", 0..REPLICAS, &by_hand);
        ensure!((1..=BUDGET).contains(&worst), "{worst} Pods were taken down at once");
        recorder.keeps_identity()?;
        has_template(space, "web").await?;
        is_quiet(it).await
    })
    .await
}
