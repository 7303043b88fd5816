//! The control plane itself is killed, loses its history, or gives the lease to another.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::chaos::{another_manager, apart, with_manager};
use crate::claims::volume_for;
use crate::harness::install::SYSTEM_NAMESPACE;
use crate::harness::manager::Manager;
use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::proxy::{Harm, Proxy, Seen};
use crate::harness::rest::at_rest;
use crate::harness::space::{image_of, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, Suite, eventually, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    apiserver_and_etcd_killed_in_rollouts_lose_nothing,
    a_history_that_is_compacted_away_is_read_anew,
    a_lease_that_another_takes_stops_the_leader,
    a_leader_that_stood_still_writes_nothing_when_it_goes_on,
];

const REPLICAS: i64 = 6;
const BUDGET: usize = 2;
const PATIENCE_SECONDS: u64 = 90;
const SEED: u64 = 5;
/// How long a lease lasts in these tests.
const LEASE: &str = "--lease-duration=4";

async fn six(space: &Space, more: Value) -> Result {
    for ordinal in 0..REPLICAS {
        volume_for(space, &format!("data-web-{ordinal}")).await?;
    }
    let spec = json!({
        "replicas": REPLICAS,
        "podManagementPolicy": "Parallel",
        "volumeClaimTemplates": [claim_template("data", "1Mi")],
    });
    let strategy = rolling_update(with(json!({"maxUnavailable": BUDGET}), more));
    space.create_settled(set("web", with(spec, strategy))).await
}

async fn apiserver_and_etcd_killed_in_rollouts_lose_nothing(here: Space) -> Result {
    apart(&here, "killed-servers", async |suite, space| {
        with_manager(suite, Manager::kill)?;
        another_manager(suite, &["--leader-elect=false"])?;
        six(space, json!({})).await?;
        let before = space.pods_of("web").await?;
        let recorder = space.record().await?;
        let kills: [(&str, u64, &[&str]); 3] = [
            ("v2", 150, &["etcd"]),
            ("v3", 350, &["kube-apiserver", "etcd"]),
            ("v4", 100, &["etcd", "kube-apiserver"]),
        ];
        for (tag, pause_milliseconds, roles) in kills {
            space.set_image("web", tag).await?;
            tokio::time::sleep(Duration::from_millis(pause_milliseconds)).await;
            for role in roles {
                suite.cluster.command(&format!("kill {role}"))?;
            }
            tokio::time::sleep(seconds(2)).await;
            for role in ["etcd", "kube-apiserver"].iter().filter(|role| roles.contains(role)) {
                suite.cluster.command(&format!("start {role}"))?;
            }
            space.settled_within("web", PATIENCE_SECONDS).await?;
            for (old, new) in before.iter().zip(space.pods_of("web").await?) {
                ensure_eq!((uid(&new), image_of(&new)), (uid(old), image(tag).as_str()), "UID and image");
            }
        }
        let worst = recorder.worst_taken_down("web", 0..REPLICAS, &BTreeSet::new());
        ensure!((1..=BUDGET).contains(&worst), "{worst} Pods were taken down at once");
        ensure!(with_manager(suite, |manager| Ok(manager.is_alive()))?, "the manager ended");
        recorder.keeps_identity()?;
        at_rest(space, "web").await
    })
    .await
}

/// Asks etcd by its JSON gateway.
fn etcd(suite: &Suite, path: &str, body: &Value) -> Result<Value> {
    let address = suite.cluster.info.etcd.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).context(format!("etcd at {address:?}"))?;
    stream.set_read_timeout(Some(seconds(10)))?;
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "etcd answers {answer}");
    let (start, end) = answer.find('{').zip(answer.rfind('}')).context("etcd's answer")?;
    Ok(serde_json::from_str(&answer[start..=end])?)
}

/// Forgets all versions but the last.
fn compact(suite: &Suite) -> Result {
    let now = etcd(suite, "/v3/kv/range", &json!({"key": "AA==", "count_only": true}))?;
    let revision = now["header"]["revision"].as_str().context("etcd's revision")?.to_owned();
    etcd(suite, "/v3/kv/compaction", &json!({"revision": revision, "physical": true}))?;
    Ok(())
}

async fn a_history_that_is_compacted_away_is_read_anew(here: Space) -> Result {
    apart(&here, "compacted", async |suite, space| {
        with_manager(suite, Manager::kill)?;
        let proxy = Proxy::start(suite, SEED, Harm::default()).await?;
        let mut manager = suite.start_manager_with(&proxy.kubeconfig(suite)?, &["--leader-elect=false"])?;
        six(space, json!({})).await?;
        let recorder = space.record().await?;
        space.set_image("web", "v2").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        // It sees nothing of what comes now, and can never read it.
        manager.signal("STOP")?;
        let by_hand = BTreeSet::from([uid(&space.pod("web-5").await?)]);
        space.pods().delete("web-5", &Default::default()).await?;
        space.set_image("web", "v3").await?;
        eventually(seconds(30), "web-5 is gone", async || {
            ensure!(space.find_pod("web-5").await?.is_none(), "it is still there");
            Ok(())
        })
        .await?;
        suite.cluster.command("kill kube-apiserver")?;
        compact(suite)?;
        suite.cluster.command("start kube-apiserver")?;
        manager.signal("CONT")?;
        space.settled_within("web", PATIENCE_SECONDS).await?;
        ensure!(proxy.expired() > 0, "no watch was told that its version is too old");
        for pod in space.pods_of("web").await? {
            ensure_eq!(image_of(&pod), image("v3"), "image");
        }
        let worst = recorder.worst_taken_down("web", 0..REPLICAS, &by_hand);
        ensure!((1..=BUDGET).contains(&worst), "{worst} Pods were taken down at once");
        ensure!(manager.is_alive(), "the manager ended");
        recorder.keeps_identity()?;
        at_rest(space, "web").await?;
        manager.kill()
    })
    .await
}

/// A manager that takes part in the election, and the proxy that tells what it wrote.
struct Candidate {
    proxy: Proxy,
    manager: Manager,
}

impl Candidate {
    async fn start(suite: &Suite) -> Result<Self> {
        let proxy = Proxy::start(suite, SEED, Harm::default()).await?;
        let manager = suite.start_manager_with(&proxy.kubeconfig(suite)?, &[LEASE])?;
        Ok(Self { proxy, manager })
    }

    fn writes(&self) -> Vec<Seen> {
        self.proxy.seen().into_iter().filter(Seen::is_write).collect()
    }
}

/// The first leads, the second stands by; six Pods are updated one after another.
async fn two_candidates(suite: &Suite, space: &Space) -> Result<(Candidate, Candidate)> {
    with_manager(suite, Manager::terminate)?;
    let mut first = Candidate::start(suite).await?;
    first.manager.wait_for_log("holding the lease")?;
    let mut second = Candidate::start(suite).await?;
    second.manager.wait_for_log("standing by")?;
    six(space, json!({"maxUnavailable": 1, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 1}})).await?;
    Ok((first, second))
}

/// Waits until an update is under way.
async fn under_way(space: &Space, first: &Candidate) -> Result {
    let before = first.writes().len();
    space.set_image("web", "v2").await?;
    eventually(seconds(30), "the leader works", async || {
        ensure!(first.writes().len() > before + 2, "it wrote nothing yet");
        Ok(())
    })
    .await
}

/// The second finished what the first began, and they never wrote in turn.
async fn second_finishes(space: &Space, first: &Candidate, second: &Candidate) -> Result {
    space.settled_within("web", PATIENCE_SECONDS).await?;
    let last = first.writes().last().context("a write of the first")?.at;
    let next = second.writes().first().context("a write of the second")?.at;
    ensure!(last < next, "the first wrote {:?} after the second had begun", last.duration_since(next));
    for pod in space.pods_of("web").await? {
        ensure_eq!(image_of(&pod), image("v2"), "image");
    }
    Ok(())
}

async fn a_lease_that_another_takes_stops_the_leader(here: Space) -> Result {
    apart(&here, "lease-taken", async |suite, space| {
        let (mut first, mut second) = two_candidates(suite, space).await?;
        let recorder = space.record().await?;
        under_way(space, &first).await?;
        let leases: Api<Lease> = Api::namespaced(space.client.clone(), SYSTEM_NAMESPACE);
        let patch = json!({"spec": {"holderIdentity": "somebody-else"}});
        leases.patch("asts-manager", &PatchParams::default(), &Patch::Merge(patch)).await?;
        let taken = Instant::now();
        eventually(seconds(30), "the leader ends", async || {
            ensure!(!first.manager.is_alive(), "it still runs");
            Ok(())
        })
        .await?;
        let ended = Instant::now();
        ensure!(second.writes().is_empty(), "the second wrote before the lease ran out");
        second_finishes(space, &first, &second).await?;
        ensure!(second.writes().iter().all(|write| write.at > taken && write.at > ended), "both wrote");
        let worst = recorder.worst_taken_down("web", 0..REPLICAS, &BTreeSet::new());
        ensure_eq!(worst, 1, "Pods taken down at once");
        recorder.keeps_identity()?;
        at_rest(space, "web").await?;
        second.manager.kill()
    })
    .await
}

async fn a_leader_that_stood_still_writes_nothing_when_it_goes_on(here: Space) -> Result {
    apart(&here, "stood-still", async |suite, space| {
        let (mut first, mut second) = two_candidates(suite, space).await?;
        let recorder = space.record().await?;
        under_way(space, &first).await?;
        first.manager.signal("STOP")?;
        eventually(seconds(60), "the second takes over", async || {
            ensure!(!second.writes().is_empty(), "it wrote nothing yet");
            Ok(())
        })
        .await?;
        first.manager.signal("CONT")?;
        eventually(seconds(30), "the first ends", async || {
            ensure!(!first.manager.is_alive(), "it still runs");
            Ok(())
        })
        .await?;
        second_finishes(space, &first, &second).await?;
        let worst = recorder.worst_taken_down("web", 0..REPLICAS, &BTreeSet::new());
        ensure_eq!(worst, 1, "Pods taken down at once");
        recorder.keeps_identity()?;
        at_rest(space, "web").await?;
        second.manager.kill()
    })
    .await
}
