//! The manager's flags, and where it finds its cluster. Those managers work where nothing is to be done, so that they
//! do not get in the way of the one that serves the tests.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::chaos::{apart, with_manager};
use crate::harness::install::{identity, run};
use crate::harness::manager::{Manager, program};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, holds, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    each_form_of_a_flag_is_taken,
    a_value_that_makes_no_sense_is_refused_with_the_flag_named,
    a_lease_is_held_for_as_long_as_the_flag_says,
    without_election_there_is_no_lease,
    log_lines_are_json_where_that_is_asked_for,
    two_namespaces_are_worked_in_and_no_third,
    each_request_names_the_program_and_its_version,
    the_environment_names_the_kubeconfig,
    a_pods_service_account_leads_to_the_cluster_around_it,
    it_is_ready_when_its_caches_are_full_and_not_before,
];

const WORKING: &str = "the caches are complete, working";

/// A manager with the administrator's rights and a lease of its own, limited to the test's namespace.
fn start(space: &Space, name: &str, arguments: &[&str]) -> Result<Manager> {
    let info = &space.suite.cluster.info;
    let here = [&["--namespace", &space.namespace, "--lease-namespace", &space.namespace], arguments].concat();
    Manager::start(&info.kubeconfig, log(space, name), &here)
}

fn log(space: &Space, name: &str) -> PathBuf {
    space.suite.cluster.info.dir.join(format!("{}-{name}.log", space.namespace))
}

async fn each_form_of_a_flag_is_taken(space: Space) -> Result {
    let forms: [(&[&str], &str); 8] = [
        (&["--in-place", "auto"], "in_place=Auto"),
        (&["--in-place=stock"], "in_place=Stock"),
        (&["--in-place=customised"], "in_place=Customised"),
        (&["--in-place=env"], "in_place=Fields([Env])"),
        (&["--in-place=volumes,volumeMounts"], "in_place=Fields([Volumes, VolumeMounts])"),
        (&["--in-place=probes, volumeSources"], "in_place=Fields([Probes, VolumeSources])"),
        (&["--log-format=text", "--log-level=debug", "--leader-elect"], WORKING),
        (&["--injector-annotations=a.example/*", "--injector-annotations=b.example/x", "--leader-elect=true"], WORKING),
    ];
    for (number, (arguments, told)) in forms.into_iter().enumerate() {
        let mut manager = start(&space, &format!("form-{number}"), arguments)?;
        manager.wait_for_log(told).context(arguments.join(" "))?;
        manager.terminate()?;
    }
    Ok(())
}

async fn a_value_that_makes_no_sense_is_refused_with_the_flag_named(space: Space) -> Result {
    for (flag, value) in [
        ("--in-place", "env,hostPath"),
        ("--in-place", "resize"),
        ("--log-format", "xml"),
        ("--leader-elect", "perhaps"),
        ("--lease-duration", "1"),
        ("--lease-duration", "soon"),
        ("--metrics-address", "8080"),
    ] {
        let mut command = Command::new(program());
        command.arg("--kubeconfig").arg(&space.suite.cluster.info.kubeconfig).arg(format!("{flag}={value}"));
        let Err(refusal) = run(command, None) else {
            return Err(crate::harness::Failure(format!("{flag}={value} was taken")));
        };
        let said = refusal.0.split_once("error:").map(|(_, said)| said.to_owned()).context(&refusal)?;
        ensure!(said.contains(flag) && said.contains(value), "{flag}={value}: {said}");
    }
    Ok(())
}

async fn leases(space: &Space) -> Result<Vec<LeaseSpec>> {
    let leases = space.api::<Lease>().list(&ListParams::default()).await?.items;
    Ok(leases.into_iter().filter_map(|lease| lease.spec).collect())
}

async fn a_lease_is_held_for_as_long_as_the_flag_says(space: Space) -> Result {
    for (arguments, duration) in [
        (&["--leader-elect", "--lease-duration=7s"][..], 7),
        (&["--leader-elect=true", "--lease-duration=8"], 8),
        (&[], 15),
    ] {
        let mut manager = start(&space, &format!("{duration}"), arguments)?;
        manager.wait_for_log(WORKING)?;
        let held = leases(&space).await?;
        ensure_eq!(held.len(), 1, "leases with {arguments:?}");
        ensure_eq!(held[0].lease_duration_seconds, Some(duration), "leaseDurationSeconds with {arguments:?}");
        ensure!(held[0].holder_identity.as_deref().is_some_and(|holder| !holder.is_empty()), "nobody holds it");
        manager.terminate()?;
        let released = leases(&space).await?;
        ensure!(released[0].holder_identity.as_deref().unwrap_or_default().is_empty(), "it is still held");
    }
    Ok(())
}

async fn without_election_there_is_no_lease(space: Space) -> Result {
    let mut manager = start(&space, "alone", &["--leader-elect=false"])?;
    manager.wait_for_log(WORKING)?;
    holds(seconds(1), "no lease", async || {
        ensure!(leases(&space).await?.is_empty(), "there is a lease");
        Ok(())
    })
    .await
}

async fn log_lines_are_json_where_that_is_asked_for(space: Space) -> Result {
    let mut manager = start(&space, "json", &["--log-format=json", "--leader-elect=false"])?;
    manager.wait_for_log(WORKING)?;
    manager.terminate()?;
    let text = std::fs::read_to_string(&manager.log)?;
    ensure!(text.lines().count() >= 3, "few lines: {text}");
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).context(line)?;
        for field in ["timestamp", "level", "message"] {
            ensure!(entry[field].is_string(), "no {field} in {line}");
        }
    }
    Ok(())
}

async fn two_namespaces_are_worked_in_and_no_third(here: Space) -> Result {
    apart(&here, "one", async |suite, one| {
        with_manager(suite, Manager::terminate)?;
        let (two, three) = (suite.space("two").await?, suite.space("three").await?);
        let both = ["--namespace", &one.namespace, "--namespace", &two.namespace];
        let mut manager = suite.start_manager(&both)?;
        for space in [one, &two, &three] {
            space.create(set("web", json!({"replicas": 1}))).await?;
        }
        one.settled("web").await?;
        two.settled("web").await?;
        holds(seconds(1), "nothing is done in the third", async || {
            ensure_eq!(three.names_of("web").await?, Vec::<String>::new(), "Pods of the third");
            Ok(())
        })
        .await?;
        manager.kill()
    })
    .await
}

async fn each_request_names_the_program_and_its_version(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let agents: BTreeSet<String> = space.suite.requests()?.into_iter().map(|request| request.user_agent).collect();
    let wanted = concat!("asts-manager/", env!("CARGO_PKG_VERSION"));
    ensure_eq!(agents.into_iter().collect::<Vec<_>>(), [wanted], "user agents");
    Ok(())
}

async fn the_environment_names_the_kubeconfig(space: Space) -> Result {
    let info = &space.suite.cluster.info;
    let command = [program(), "--leader-elect=false".into(), "--namespace".into(), OsString::from(&space.namespace)];
    let environment = [("KUBECONFIG", info.kubeconfig.clone().into_os_string())];
    let mut manager = Manager::start_command(&command, &environment, log(&space, "environment"))?;
    manager.wait_for_log(WORKING)
}

/// The files of a service account where a Pod has them, in a mount namespace of the manager's own, which needs root.
async fn a_pods_service_account_leads_to_the_cluster_around_it(space: Space) -> Result {
    const INSIDE: &str = r#"
        set -e
        files=$1; shift
        mount -t tmpfs none "$(realpath /var/run)"
        mkdir -p /var/run/secrets/kubernetes.io
        cp -r "$files" /var/run/secrets/kubernetes.io/serviceaccount
        exec "$@"
    "#;
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        println!("untried: the files of a Pod's service account need a mount namespace, and that root");
        return Ok(());
    }
    let info = &space.suite.cluster.info;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(&space.suite.identity)?)?;
    let token = config.pointer("/users/0/user/token").and_then(Value::as_str).context("the manager's token")?;
    let files = info.dir.join(format!("{}-account", space.namespace));
    std::fs::create_dir(&files)?;
    std::fs::write(files.join("token"), token)?;
    std::fs::write(files.join("namespace"), &space.namespace)?;
    std::fs::copy(&info.ca, files.join("ca.crt"))?;
    let server: http::Uri = info.server.parse()?;
    let environment = [
        ("KUBERNETES_SERVICE_HOST", server.host().context("the apiserver's host")?.into()),
        ("KUBERNETES_SERVICE_PORT", server.port().context("the apiserver's port")?.to_string().into()),
        ("KUBECONFIG", OsString::new()),
        ("HOME", "/nowhere".into()),
    ];
    let mut command: Vec<OsString> = ["unshare", "--mount", "sh", "-c", INSIDE, "inside"].map(OsString::from).into();
    command.extend([files.into(), program(), "--leader-elect=false".into(), "--namespace".into()]);
    command.push(OsString::from(&space.namespace));
    let mut manager = Manager::start_command(&command, &environment, log(&space, "inside"))?;
    manager.wait_for_log(WORKING)
}

const ACCOUNT: &str = "late";

async fn it_is_ready_when_its_caches_are_full_and_not_before(space: Space) -> Result {
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}}))?;
    space.api().create(&PostParams::default(), &account).await?;
    let whole: Api<ClusterRole> = Api::all(space.client.clone());
    let all = whole.get("asts-manager").await?.rules.context("the manager's rights")?;
    let claims = |resources: &Option<Vec<String>>| {
        resources.iter().flatten().any(|resource| resource == "persistentvolumeclaims")
    };
    let few = all.iter().filter(|rule| !claims(&rule.resources)).cloned().collect();
    let role = Role { metadata: ObjectMeta { name: Some(ACCOUNT.to_owned()), ..Default::default() }, rules: Some(few) };
    space.api().create(&PostParams::default(), &role).await?;
    let subject = format!("--serviceaccount={}:{ACCOUNT}", space.namespace);
    space.kubectl(&["create", "rolebinding", ACCOUNT, &format!("--role={ACCOUNT}"), &subject], None)?;
    let kubeconfig = identity(&space.suite.cluster.info, &space.client, &space.namespace, ACCOUNT).await?;
    let arguments = ["--leader-elect=false", "--namespace", &space.namespace];
    let mut manager = Manager::start(&kubeconfig, log(&space, "late"), &arguments)?;
    holds(seconds(2), "alive and not ready", async || {
        ensure!(manager.get("health_address", "/healthz")?.starts_with("HTTP/1.1 200"), "/healthz is not 200");
        let answer = manager.get("health_address", "/readyz")?;
        ensure!(answer.starts_with("HTTP/1.1 503") && answer.contains("caches"), "/readyz: {answer}");
        Ok(())
    })
    .await?;
    let patch = Patch::Merge(json!({"rules": all}));
    space.api::<Role>().patch(ACCOUNT, &PatchParams::default(), &patch).await?;
    eventually(seconds(30), "ready", async || {
        let answer = manager.get("health_address", "/readyz")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "/readyz: {answer}");
        Ok(())
    })
    .await?;
    manager.wait_for_log(WORKING)
}
