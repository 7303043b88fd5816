//! `kubectl asts rollout`, beside `kubectl rollout` where that has something to compare with.

use serde_json::{Value, json};

use crate::cli_run::{PLAIN, Screen, asts, asts_with, kubectl, run};
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{container_id, image_of, uid};
use crate::harness::{Context, Result, Space, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_rollout_is_paused_and_resumed,
    a_set_is_chosen_in_every_way,
    what_is_chosen_wrongly_is_refused,
    the_status_ends_when_the_rollout_does,
    the_status_says_what_stands_in_the_way,
    the_status_of_a_partition_is_done,
    history_is_printed_as_kubectl_prints_it,
    a_revision_is_printed_as_kubectl_prints_it,
    the_way_back_reuses_the_revision,
    the_way_back_never_shrinks_a_claim,
    the_way_back_brings_claim_templates_back,
    a_restart_keeps_the_pods,
    objects_are_printed_in_every_form,
];

const SET: &str = "advancedstatefulset.apps.asts.dev/web";

async fn a_rollout_is_paused_and_resumed(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    ensure_eq!(asts(&space, &["rollout", "pause", "web"]).await?.fine()?, format!("{SET} paused\n"), "pause");
    let again = asts(&space, &["rollout", "pause", "asts/web"]).await?.refused()?;
    ensure_eq!(again, "error: advancedstatefulsets.apps.asts.dev \"web\" is already paused\n", "pause again");
    let restart = asts(&space, &["rollout", "restart", "web"]).await?.refused()?;
    ensure!(restart.contains("can't restart paused advancedstatefulset (run rollout resume first)"), "{restart}");
    space.set_image("web", "v2").await?;
    space.condition_is("web", "Progressing", "True", Some("Paused")).await?;
    let undo = asts(&space, &["rollout", "undo", "web"]).await?.refused()?;
    ensure!(undo.contains("you cannot rollback a paused advancedstatefulset; resume it first"), "{undo}");
    let status = asts(&space, &["rollout", "status", "web", "--timeout=2s"]).await?;
    ensure!(status.out.contains("0 out of 3 new pods have been updated... (the rollout is paused)"), "{status:?}");
    ensure!(status.refused()?.starts_with("error: timed out waiting for the condition"), "the time is over");
    ensure_eq!(
        asts(&space, &["rollout", "resume", "asts", "web"]).await?.fine()?,
        format!("{SET} resumed\n"),
        "resume"
    );
    let again = asts(&space, &["rollout", "resume", "web"]).await?.refused()?;
    ensure_eq!(again, "error: advancedstatefulsets.apps.asts.dev \"web\" is not paused\n", "resume again");
    space.settled("web").await
}

async fn a_set_is_chosen_in_every_way(space: Space) -> Result {
    for name in ["web", "db"] {
        let labels = json!({"metadata": {"labels": {"of": name, "all": "yes"}}});
        let mut manifest = set(name, json!({"replicas": 1}));
        manifest["metadata"]["labels"] = labels["metadata"]["labels"].clone();
        space.create(manifest).await?;
    }
    let folder = space.suite.cluster.info.dir.join(format!("manifests-{}", space.namespace));
    std::fs::create_dir_all(folder.join("inner"))?;
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "none"}});
    std::fs::write(folder.join("web.yaml"), format!("{}\n---\n{other}\n", set("web", json!({}))))?;
    std::fs::write(folder.join("inner/db.json"), set("db", json!({})).to_string())?;
    let built = folder.with_extension("built");
    std::fs::create_dir_all(&built)?;
    std::fs::copy(folder.join("web.yaml"), built.join("web.yaml"))?;
    std::fs::write(built.join("kustomization.yaml"), "resources: [web.yaml]\n")?;
    let (folder, built) = (folder.display().to_string(), built.display().to_string());
    let file = format!("{folder}/web.yaml");
    let long = "advancedstatefulsets.apps.asts.dev/web";
    let (web, db) = (SET.to_owned(), SET.replace("/web", "/db"));
    for (arguments, chosen) in [
        (vec![long], vec![&web]),
        (vec!["web", "db"], vec![&web, &db]),
        (vec!["asts"], vec![&db, &web]),
        (vec!["-l", "of=db"], vec![&db]),
        (vec!["asts", "--selector", "all in (yes)"], vec![&db, &web]),
        (vec!["-f", &file], vec![&web]),
        (vec!["-f", &folder], vec![&web]),
        (vec!["-f", &folder, "-R"], vec![&db, &web]),
        (vec!["-f", &folder, "-R", "-l", "of=db"], vec![&db]),
        (vec!["-k", &built], vec![&web]),
    ] {
        let mut printed: Vec<String> = Vec::new();
        for verb in ["pause", "resume"] {
            let words = [&["rollout", verb, "-o", "name"], arguments.as_slice()].concat();
            printed = asts(&space, &words).await?.fine()?.lines().map(str::to_owned).collect();
        }
        printed.sort();
        let mut chosen: Vec<&String> = chosen;
        chosen.sort();
        ensure_eq!(printed.iter().collect::<Vec<_>>(), chosen, "{arguments:?}");
    }
    let manifest = set("db", json!({})).to_string();
    let piped = asts_with(&space, &["rollout", "pause", "-f", "-"], &manifest, &[]).await?.fine()?;
    ensure_eq!(piped, format!("{db} paused\n"), "standard input");
    Ok(())
}

async fn what_is_chosen_wrongly_is_refused(space: Space) -> Result {
    space.create(set("web", json!({"replicas": 0}))).await?;
    for (arguments, message) in [
        (vec![], "error: required resource not specified"),
        (vec!["nope"], "Error from server (NotFound): advancedstatefulsets.apps.asts.dev \"nope\" not found\n"),
        (vec!["deployment/web"], "error: \"deployment/web\": \"deployment\" is no AdvancedStatefulSet"),
        (vec!["web", "-l", "a=b"], "error: name cannot be provided when a selector is specified\n"),
        (vec!["web", "-f", "x.yaml"], "error: when paths, URLs, or stdin is provided as resource input"),
        (vec!["-f", "/no/such/file"], "error: cannot read /no/such/file: No such file"),
        (vec!["../pods"], "error: \"../pods\": \"..\" is no AdvancedStatefulSet"),
        (vec!["web?watch=1"], "error: invalid resource name \"web?watch=1\""),
        (vec!["web", "-o", "wide"], "error: unable to match a printer suitable for the output format \"wide\""),
        (vec!["-l", "((("], "Error from server (BadRequest): found '('"),
    ] {
        let words = [&["rollout", "pause"], arguments.as_slice()].concat();
        let refused = asts(&space, &words).await?.refused()?;
        ensure!(refused.starts_with(message), "{arguments:?}: {refused}");
    }
    for words in [vec!["rollout"], vec!["rollout", "pause", "web", "--no-such-flag"], vec!["rollout", "stop"]] {
        ensure_eq!(asts(&space, &words).await?.code, 1, "{words:?}");
    }
    let none = asts(&space, &["rollout", "status", "-l", "no=such"]).await?;
    ensure_eq!(none.err, format!("No resources found in {} namespace.\n", space.namespace), "nothing matches");
    ensure_eq!(none.fine()?, "", "nothing to print");
    // What is wrong with one does not keep the others from it.
    let both = asts(&space, &["rollout", "pause", "nope", "web"]).await?;
    ensure_eq!(both.out, format!("{SET} paused\n"), "the other one");
    ensure!(both.refused()?.contains("\"nope\" not found"), "the one that is not there");
    Ok(())
}

async fn the_status_ends_when_the_rollout_does(space: Space) -> Result {
    space.create(set("web", json!({}))).await?;
    let done = format!("{} \"web\" successfully rolled out\n", SET.split('/').next().unwrap_or_default());
    let said = asts(&space, &["rollout", "status", "web"]).await?.fine()?;
    ensure!(said.ends_with(&done) && said.starts_with("Waiting for "), "{said}");
    ensure!(said.contains("new pods have been updated...\n"), "{said}");
    ensure_eq!(asts(&space, &["rollout", "status", "web", "--watch=false"]).await?.fine()?, done, "at once");
    ensure_eq!(asts(&space, &["rollout", "status", "web", "--revision=1"]).await?.fine()?, done, "the revision");
    let other = asts(&space, &["rollout", "status", "web", "--revision=7"]).await?.refused()?;
    ensure_eq!(other, "error: desired revision (7) is different from the running revision (1)\n", "another revision");
    let negative = asts(&space, &["rollout", "status", "web", "--revision=-1"]).await?.refused()?;
    ensure_eq!(negative, "error: revision must be a positive integer: -1\n", "negative");
    space.set_image("web", "never-ready").await?;
    let now = asts(&space, &["rollout", "status", "web", "-w=false"]).await?.fine()?;
    ensure!(now.starts_with("Waiting for "), "under way: {now}");
    let mut watched = Screen::open(&space, PLAIN, &["rollout", "status", "web"], &[("TERM", "dumb")])?;
    watched.shows("it waits", |text| text.contains("Waiting for ")).await?;
    space.kubectl(&["delete", "asts", "web"], None)?;
    ensure_eq!(watched.ended().await?, 1, "the exit code after a deletion");
    watched.shows("why", |text| text.contains("error: object has been deleted")).await?;
    Ok(())
}

async fn the_status_says_what_stands_in_the_way(space: Space) -> Result {
    space.create_settled(set("web", json!({"progressDeadlineSeconds": 3}))).await?;
    space.set_image("web", "broken").await?;
    let late = asts(&space, &["rollout", "status", "web"]).await?.refused()?;
    ensure!(late.contains("\"web\" exceeded its progress deadline: "), "{late}");
    ensure!(late.contains("web-2"), "who is waited for: {late}");
    space.create(set("other", json!({"updateStrategy": {"type": "OnDelete"}}))).await?;
    let refused = asts(&space, &["rollout", "status", "other"]).await?.refused()?;
    ensure_eq!(refused, "error: rollout status is only available for RollingUpdate strategy type\n", "OnDelete");
    let refused = asts(&space, &["rollout", "pause", "other"]).await?.refused()?;
    ensure!(refused.contains("\"other\" cannot be paused: its update strategy is OnDelete"), "{refused}");
    let refused = asts(&space, &["rollout", "resume", "other"]).await?.refused()?;
    ensure!(refused.contains("\"other\" is not paused"), "{refused}");
    let strategy = space.set("other").await?.spec.update_strategy;
    ensure!(strategy.is_some_and(|strategy| strategy.rolling_update.is_none()), "nothing was written");
    Ok(())
}

async fn the_status_of_a_partition_is_done(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"partition": 1})))).await?;
    space.set_image("web", "v2").await?;
    let said = asts(&space, &["rollout", "status", "web"]).await?.fine()?;
    ensure!(said.ends_with("partitioned roll out complete: 2 new pods have been updated...\n"), "{said}");
    Ok(())
}

/// A native StatefulSet of the same template.
fn native(mut manifest: Value) -> Value {
    manifest["apiVersion"] = json!("apps/v1");
    manifest["kind"] = json!("StatefulSet");
    manifest["metadata"]["name"] = json!("native");
    manifest["spec"]["replicas"] = json!(0);
    manifest
}

/// What both print, with the names made equal.
async fn beside_kubectl(space: &Space, arguments: &[&str]) -> Result<(String, String)> {
    let ours = asts(space, &[arguments, &["web"]].concat()).await?.fine()?;
    let words = [&["--namespace", &space.namespace], arguments, &["statefulset/native"]].concat();
    let theirs = run(kubectl(space, &words)?, "").await?.fine()?;
    Ok((ours.replace(SET, "statefulset.apps/native"), theirs))
}

async fn history_is_printed_as_kubectl_prints_it(space: Space) -> Result {
    let manifest = set("web", json!({}));
    space.apply(&native(manifest.clone()))?;
    space.create_settled(manifest).await?;
    for tag in ["v2", "v3"] {
        space.set_image("web", tag).await?;
        space.settled("web").await?;
        let image = format!("app={}", image(tag));
        space.kubectl(&["set", "image", "statefulset/native", &image], None)?;
        space.kubectl(&["rollout", "status", "statefulset/native"], None)?;
    }
    let (ours, theirs) = beside_kubectl(&space, &["rollout", "history"]).await?;
    ensure_eq!(ours, theirs, "history");
    for arguments in [["rollout", "history", "--revision=2"], ["rollout", "undo", "--dry-run=client"]] {
        let (ours, theirs) = beside_kubectl(&space, &arguments).await?;
        ensure_eq!(ours, theirs, "{arguments:?}");
    }
    let missing = asts(&space, &["rollout", "history", "web", "--revision=9"]).await?.refused()?;
    ensure_eq!(missing, "error: unable to find the specified revision\n", "no such revision");
    let images =
        asts(&space, &["rollout", "history", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image} "]);
    let expected: String = ["v1", "v2", "v3"].iter().map(|tag| format!("{} ", image(tag))).collect();
    ensure_eq!(images.await?.fine()?, expected, "-o of all revisions");
    Ok(())
}

/// Everything that kubectl's description of a template has words for.
fn rich_template() -> Value {
    json!({
        "metadata": {"annotations": {"short": "value", "long": "x".repeat(200), "lines": "one\ntwo"}},
        "spec": {
            "serviceAccountName": "someone", "priorityClassName": "system-node-critical", "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}, {"operator": "Exists"}],
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }],
            "initContainers": [{"name": "init", "image": image("v1"), "command": ["sh", "-c", "echo\nhi"], "args": ["x"]}],
            "containers": [{
                "name": "app", "image": image("v1"),
                "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81, "protocol": "UDP", "hostPort": 81}],
                "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}, "requests": {"cpu": "50m"}},
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "timeoutSeconds": 7},
                "readinessProbe": {"exec": {"command": ["true", "x"]}, "periodSeconds": 3},
                "startupProbe": {"tcpSocket": {"port": 80}, "failureThreshold": 9},
                "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s", "optional": true}, "prefix": "P_"}],
                "env": [
                    {"name": "PLAIN", "value": "one\ntwo"},
                    {"name": "EMPTY"},
                    {"name": "FIELD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "CONFIG", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": true}}},
                ],
                "volumeMounts": [
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "config", "mountPath": "/etc/config", "readOnly": true, "subPath": "x"},
                ],
            }],
            "volumes": [
                {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "ram", "emptyDir": {"medium": "Memory"}},
                {"name": "config", "configMap": {"name": "c"}},
                {"name": "secret", "secret": {"secretName": "s", "optional": true}},
                {"name": "host", "hostPath": {"path": "/var/log", "type": "Directory"}},
                {"name": "claim", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "nfs", "nfs": {"server": "s", "path": "/p"}},
                {"name": "down", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "csi", "csi": {"driver": "d", "volumeAttributes": {"a": "b", "c": "d"}}},
                {"name": "all", "projected": {"sources": [
                    {"secret": {"name": "s"}}, {"configMap": {"name": "c", "optional": true}},
                    {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                    {"serviceAccountToken": {"path": "t", "expirationSeconds": 7200}},
                ]}},
            ],
        },
    })
}

async fn a_revision_is_printed_as_kubectl_prints_it(space: Space) -> Result {
    let manifest = set("web", json!({"replicas": 0, "template": rich_template()}));
    space.apply(&native(manifest.clone()))?;
    space.create_settled(manifest).await?;
    space.kubectl(&["rollout", "status", "statefulset/native"], None)?;
    let (ours, theirs) = beside_kubectl(&space, &["rollout", "history", "--revision=1"]).await?;
    ensure_eq!(ours, theirs, "the template");
    ensure!(ours.lines().count() > 90, "the template is described: {ours}");
    Ok(())
}

async fn the_way_back_reuses_the_revision(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let nothing = asts(&space, &["rollout", "undo", "web"]).await?.refused()?;
    ensure_eq!(nothing, "error: no last revision to roll back to\n", "nothing before");
    let first = space.status("web").await?.update_revision;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let checked = asts(&space, &["rollout", "undo", "web", "--dry-run=server"]).await?.fine()?;
    ensure_eq!(checked, format!("{SET} rolled back (server dry run)\n"), "dry run");
    ensure_eq!(asts(&space, &["rollout", "undo", "web"]).await?.fine()?, format!("{SET} rolled back\n"), "undo");
    space.settled("web").await?;
    ensure_eq!(space.status("web").await?.update_revision, first, "the revision");
    ensure_eq!(image_of(&space.pod("web-0").await?), image("v1"), "the image");
    let same = asts(&space, &["rollout", "undo", "web", "--to-revision=3"]).await?.fine()?;
    ensure_eq!(
        same,
        format!("{SET} skipped rollback (current template already matches revision 3)\n"),
        "there already"
    );
    let back = asts(&space, &["rollout", "undo", "web", "--to-revision", "2", "-o", "name"]).await?.fine()?;
    ensure_eq!(back, format!("{SET}\n"), "to a revision");
    space.settled("web").await?;
    ensure_eq!(image_of(&space.pod("web-0").await?), image("v2"), "the image");
    let missing = asts(&space, &["rollout", "undo", "web", "--to-revision=9"]).await?.refused()?;
    ensure_eq!(missing, "error: unable to find specified revision 9 in history\n", "no such revision");
    Ok(())
}

fn claim(name: &str, size: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    })
}

async fn the_way_back_never_shrinks_a_claim(space: Space) -> Result {
    let growing = json!({
        "replicas": 1, "volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"}, "volumeClaimTemplates": [claim("data", "1Gi")],
    });
    space.create(set("web", growing)).await?;
    space.pod_is("web-0", "there", |_| true).await?;
    space.edit("web", json!({"volumeClaimTemplates": [claim("data", "2Gi")]})).await?;
    space.set_image("web", "v2").await?;
    let named = async || Ok::<_, crate::harness::Failure>(space.revisions_of("web").await?.len());
    crate::harness::eventually(std::time::Duration::from_secs(30), "the second revision", async || {
        ensure!(named().await? >= 2, "revisions");
        Ok(())
    })
    .await?;
    let back = asts(&space, &["rollout", "undo", "web", "--to-revision=1"]).await?;
    ensure!(back.err.contains("Warning: claims are never shrunk: data stays at 2Gi, it had 1Gi"), "{back:?}");
    back.fine()?;
    let spec = serde_json::to_value(space.set("web").await?.spec)?;
    ensure_eq!(spec["template"]["spec"]["containers"][0]["image"], json!(image("v1")), "the image");
    let size = &spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    ensure_eq!(size, &json!("2Gi"), "the claim template");
    Ok(())
}

async fn the_way_back_brings_claim_templates_back(space: Space) -> Result {
    let with_claims = |claims: Value| json!({"replicas": 1, "volumeClaimTemplates": claims});
    space.create(set("web", with_claims(json!([claim("data", "1Gi"), claim("log", "3Gi")])))).await?;
    space.pod_is("web-0", "there", |_| true).await?;
    let first = space.status_is("web", "it has a revision", |it| it.update_revision.is_some()).await?.update_revision;
    space.edit("web", with_claims(json!([claim("data", "1Gi"), claim("new", "1Gi")]))).await?;
    space.status_is("web", "another revision", |it| it.update_revision != first).await?;
    asts(&space, &["rollout", "undo", "web"]).await?.fine()?;
    space.status_is("web", "the first revision", |it| it.update_revision == first).await?;
    let spec = serde_json::to_value(space.set("web").await?.spec)?;
    let claims = spec["volumeClaimTemplates"].as_array().context("the claim templates")?;
    let names: Vec<&Value> = claims.iter().map(|claim| &claim["metadata"]["name"]).collect();
    ensure_eq!(names, ["data", "log"], "claim templates");
    ensure_eq!(claims[1]["spec"]["resources"]["requests"]["storage"], "3Gi", "the size that the claim has");
    // Without its claims nobody knows what the template was.
    space.edit("web", with_claims(json!([claim("data", "1Gi")]))).await?;
    space.status_is("web", "a third revision", |it| it.update_revision != first).await?;
    space.kubectl(&["delete", "pvc", "log-web-0", "--wait=false"], None)?;
    space
        .kubectl(&["patch", "pvc", "log-web-0", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#], None)
        .ok();
    let unknown = asts(&space, &["rollout", "undo", "web", "--to-revision=3"]).await?.refused()?;
    ensure!(unknown.contains("add log to spec.volumeClaimTemplates"), "{unknown}");
    Ok(())
}

async fn a_restart_keeps_the_pods(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = space.pods_of("web").await?;
    ensure_eq!(asts(&space, &["rollout", "restart", "web"]).await?.fine()?, format!("{SET} restarted\n"), "restart");
    asts(&space, &["rollout", "status", "web", "--timeout=60s"]).await?.fine()?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(uid(&new), uid(old), "UID");
        ensure!(container_id(&new) != container_id(old), "the container is the old one");
    }
    Ok(())
}

async fn objects_are_printed_in_every_form(space: Space) -> Result {
    let spec = with(json!({"replicas": 1}), rolling_update(json!({})));
    space.create(set("web", spec)).await?;
    let mut verb = "resume";
    for (form, expected) in [
        (vec!["-o", "jsonpath={.metadata.name}"], "web"),
        (vec!["-o", "go-template={{.kind}}"], "AdvancedStatefulSet"),
        (vec!["--template={{.spec.replicas}}"], "1"),
        (vec!["-o", "go-template", "--template={{.kind}}"], "AdvancedStatefulSet"),
        (vec!["-o", "jsonpath={.nothing}"], ""),
        (vec!["-o", "name"], "advancedstatefulset.apps.asts.dev/web\n"),
    ] {
        verb = if verb == "pause" { "resume" } else { "pause" };
        let said = asts(&space, &[&["rollout", verb, "web"], form.as_slice()].concat()).await?.fine()?;
        ensure_eq!(said, expected, "{form:?}");
    }
    let json = asts(&space, &["rollout", "pause", "web", "-o", "json", "--show-managed-fields"]).await?.fine()?;
    let object: Value = serde_json::from_str(&json)?;
    ensure_eq!(object["spec"]["updateStrategy"]["rollingUpdate"]["paused"], true, "the changed object");
    ensure!(json.contains("kubectl-rollout"), "the field manager: {json}");
    let strict = ["rollout", "resume", "web", "-o", "jsonpath={.nothing}", "--allow-missing-template-keys=false"];
    let refused = asts(&space, &strict).await?.refused()?;
    ensure!(refused.contains("nothing is not found"), "{refused}");
    Ok(())
}
