//! The steps of the demo, in order.

use std::sync::Arc;
use std::time::Duration;

use asts::api::{AdvancedStatefulSet, AdvancedStatefulSetStatus};
use kube::Api;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::harness::cluster::{Cluster, Info};
use crate::harness::install::{SERVICE_ACCOUNT, SYSTEM_NAMESPACE, client, identity};
use crate::harness::manager::Manager;
use crate::harness::{Context, Failure, Result, eventually, image};
use crate::live::traffic::{Tally, Traffic};
use crate::live::{Change, Live, PodView, Pods};
use crate::narrator::Narrator;
use crate::table;

const SET: &str = "web";
const PODS: usize = 5;
const NAMESPACE: &str = "default";
const LIMIT: Duration = Duration::from_secs(120);
/// Traffic before the update begins and after it is done.
const CALM: Duration = Duration::from_secs(2);

/// All of it. What is started ends with the values that hold it.
pub async fn run(narrator: &Narrator) -> Result {
    let (cluster, is_real) = start_cluster(narrator).await?;
    let info = &cluster.info;
    let admin = client(&info.kubeconfig).await?;
    let mut manager = install(narrator, info, &admin).await?;
    let outcome = update_in_place(narrator, info, &admin, is_real).await;
    if outcome.is_err() {
        narrator.say("The manager's last words:");
        narrator.print(&manager.tail(20));
    }
    let seconds = manager.terminate()?.as_secs_f64();
    narrator.say(&format!("The manager ended in order within {seconds:.1} s; now the cluster ends"));
    tokio::task::spawn_blocking(move || cluster.end()).await.context("end the cluster")?;
    outcome
}

/// This machine as a node where it can be one, else fake nodes; and which it is.
async fn start_cluster(narrator: &Narrator) -> Result<(Cluster, bool)> {
    let wanted = std::env::var("DEMO_PROVIDER").ok();
    let provider = wanted.clone().unwrap_or_else(|| if is_root() { "node" } else { "local" }.to_owned());
    if provider == "local" && wanted.is_none() {
        narrator.say("Not root, so this machine cannot be a node: fake nodes play the Pods, and no requests are sent");
    }
    match start(narrator, &provider).await {
        Err(failure) if wanted.is_none() && provider == "node" => {
            narrator.say(&format!("This machine cannot be a node here ({failure}); fake nodes instead, no requests"));
            start(narrator, "local").await
        }
        outcome => outcome,
    }
}

async fn start(narrator: &Narrator, provider: &str) -> Result<(Cluster, bool)> {
    let what = if provider == "node" { "this machine as its node: kubelet, containerd, runc" } else { "fake nodes" };
    narrator
        .say(&format!("Starting Kubernetes with {what} (the first time, its programs are built: about 10 minutes)"));
    let (provider, is_real) = (provider.to_owned(), provider == "node");
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&provider, &[])).await.context("a thread")??;
    narrator.say("The cluster is ready. To look at it from another terminal while this runs:");
    narrator.show(&format!("export KUBECONFIG={}", cluster.info.kubeconfig.display()));
    narrator.show(&format!("alias kubectl={}", cluster.info.kubectl.join(" ")));
    Ok((cluster, is_real))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

async fn install(narrator: &Narrator, info: &Info, admin: &kube::Client) -> Result<Manager> {
    narrator.say("Installing the resource, and an identity with the rights that the manager needs");
    narrator.kubectl(info, &["apply", "-k", "config/crd"]).await?;
    narrator.kubectl(info, &["apply", "-k", "config/namespace"]).await?;
    narrator.kubectl(info, &["apply", "-k", "config/rbac"]).await?;
    let established = ["wait", "--for=condition=Established", "crd/advancedstatefulsets.apps.asts.dev"];
    narrator.kubectl(info, &established).await?;
    let kubeconfig = identity(info, admin, SYSTEM_NAMESPACE, SERVICE_ACCOUNT).await?;
    narrator.say("Starting the manager under that identity (a token of its service account, no other rights)");
    narrator.show(&format!("kubectl create token {SERVICE_ACCOUNT} -n {SYSTEM_NAMESPACE}    # goes into a kubeconfig"));
    narrator.show("asts-manager --kubeconfig asts-manager.kubeconfig");
    Manager::start(&kubeconfig, info.dir.join("manager.log"), &[])
}

async fn update_in_place(narrator: &Narrator, info: &Info, admin: &kube::Client, is_real: bool) -> Result {
    let (live, changes) = Live::start(admin.clone(), NAMESPACE);
    let live = Arc::new(live);
    let sets: Api<AdvancedStatefulSet> = Api::namespaced(admin.clone(), NAMESPACE);
    narrator.say(&format!("A set of {PODS} Pods with {}", short(&image("v1"))));
    narrator.kubectl(info, &["apply", "-f", "config/samples/demo.yaml"]).await?;
    live.until("five Pods serve v1", LIMIT, |pods| all_serve(pods, &image("v1"))).await?;
    settled(&sets).await?;
    narrator.say("All Pods are Ready");
    narrator.kubectl(info, &["get", "asts,pods", "-o", "wide"]).await?;
    let before = live.pods().clone();

    let traffic = is_real.then(|| Traffic::start(&live));
    match &traffic {
        Some(_) => narrator.say("Four clients send one request after another, only to Pods that are Ready"),
        None => narrator.say("Fake Pods answer no requests: none are sent"),
    }
    tokio::time::sleep(CALM).await;

    narrator.say("Another image, while the requests go on; each Pod leaves service 3 s before its container ends");
    let patch = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image("v2")}]);
    narrator.kubectl(info, &["patch", "asts", SET, "--type=json", "-p", &patch.to_string()]).await?;
    let done = async {
        live.until("five Pods serve v2", LIMIT, |pods| all_serve(pods, &image("v2"))).await?;
        settled(&sets).await
    };
    let status = told_meanwhile(narrator, changes, done).await?;
    narrator.say("The update is done");
    tokio::time::sleep(CALM).await;
    let tally = match traffic {
        Some(traffic) => Some(traffic.stop().await),
        None => None,
    };
    let after = live.pods().clone();
    narrator.kubectl(info, &["get", "asts", "-o", "wide"]).await?;
    report(narrator, &before, &after, tally.as_ref(), &status);
    verdict(&before, &after, tally.as_ref())
}

fn short(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or(image)
}

fn all_serve(pods: &Pods, image: &str) -> bool {
    pods.len() == PODS && pods.values().all(|pod| pod.serves(image))
}

/// Waits until the manager says that all of the present spec is done.
async fn settled(sets: &Api<AdvancedStatefulSet>) -> Result<AdvancedStatefulSetStatus> {
    eventually(LIMIT, "the set's status says that all is done", async || {
        let set = sets.get(SET).await?;
        let status = set.status.unwrap_or_default();
        let seen = status.observed_generation == set.metadata.generation;
        let same = status.current_revision == status.update_revision;
        if seen && same && usize::try_from(status.updated_available_replicas) == Ok(PODS) {
            return Ok(status);
        }
        Err(Failure(format!("{status:?}")))
    })
    .await
}

/// Tells what becomes of each Pod until the work is done.
async fn told_meanwhile<T>(
    narrator: &Narrator,
    mut changes: UnboundedReceiver<Change>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    while changes.try_recv().is_ok() {}
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            Some(change) = changes.recv() => {
                if let Some(text) = story(&change) {
                    narrator.say(&format!("  {} {text}", change.name));
                }
            }
        }
    }
}

/// What a change means, where it means something.
fn story(change: &Change) -> Option<String> {
    let Some(after) = &change.after else { return Some("is gone".to_owned()) };
    let Some(before) = &change.before else { return Some("is made".to_owned()) };
    let closed = |pod: &PodView| pod.gate.as_ref().is_some_and(|(status, _)| status == "False");
    if after.image != before.image {
        return Some(format!("is patched in place: {}", short(&after.image)));
    }
    if after.container_id != before.container_id && !after.container_id.is_empty() {
        return Some(format!("has a new container, restart {}", after.restarts));
    }
    if closed(after) && !closed(before) {
        let reason = after.gate.as_ref().map(|(_, reason)| reason.as_str()).unwrap_or_default();
        return Some(format!("leaves service through its readiness gate ({reason})"));
    }
    (after.ready && !before.ready).then(|| "is back in service".to_owned())
}

fn report(narrator: &Narrator, before: &Pods, after: &Pods, tally: Option<&Tally>, status: &AdvancedStatefulSetStatus) {
    narrator.say("Each Pod before and after: the same Pod, address and node; another container");
    narrator.print(&table::before_and_after(before, after));
    match tally {
        None => narrator.say("Requests: none were sent, there is no real node"),
        Some(tally) => {
            let versions: Vec<String> =
                tally.answers.iter().map(|(version, count)| format!("{count} by {version}")).collect();
            let answered = versions.join(", ");
            narrator.say(&format!("Requests: {} ({answered}), failures: {}", tally.requests(), tally.failures));
            for told in &tally.told {
                narrator.print(told);
            }
        }
    }
    narrator.say("The set's conditions");
    let header = ["CONDITION", "STATUS", "REASON", "MESSAGE"].map(str::to_owned);
    let mut rows = vec![header];
    for condition in &status.conditions {
        let reason = condition.reason.clone().unwrap_or_default();
        let message = condition.message.clone().unwrap_or_default();
        rows.push([condition.type_.clone(), condition.status.clone(), reason, message]);
    }
    narrator.print(&table::aligned(&rows));
}

/// The demo claims something, so it fails where that is not so.
fn verdict(before: &Pods, after: &Pods, tally: Option<&Tally>) -> Result {
    let identity = |pods: &Pods| -> Vec<_> {
        pods.iter().map(|(name, pod)| (name.clone(), pod.uid.clone(), pod.ip.clone(), pod.node.clone())).collect()
    };
    if identity(before) != identity(after) {
        return Err(Failure("a Pod lost its UID, address or node".to_owned()));
    }
    if before.iter().any(|(name, pod)| after.get(name).is_none_or(|now| now.container_id == pod.container_id)) {
        return Err(Failure("a container is still the old one".to_owned()));
    }
    match tally {
        Some(tally) if tally.failures > 0 => Err(Failure(format!("{} requests failed", tally.failures))),
        Some(tally) if tally.nowhere > 0 => Err(Failure(format!("{} times no Pod was Ready", tally.nowhere))),
        _ => Ok(()),
    }
}
