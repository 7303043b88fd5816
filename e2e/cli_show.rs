//! What the plugin shows without a terminal: trees, differences, events, versions, candidates.

use serde_json::{Value, json};

use crate::cli_run::{PLAIN, Said, Screen, asts, asts_with, kubectl, run};
use crate::harness::manifest::rolling_update;
use crate::harness::space::hash_in;
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, image, install, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    sets_are_listed,
    a_set_is_shown_as_a_tree,
    the_tree_is_there_for_programs,
    the_tree_is_printed_again_when_it_changes,
    the_tree_says_why_nothing_happens,
    two_revisions_are_compared,
    events_of_all_that_is_the_sets_own_are_told,
    versions_are_told,
    candidates_come_from_the_cluster,
    kubectl_completes_the_plugin,
    bash_completes_the_plugin,
    colours_are_for_those_who_want_them,
    who_may_not_look_is_told_so,
    long_names_are_shown_whole,
    a_closed_pipe_is_no_error,
    a_server_that_is_not_there_is_told,
];

async fn sets_are_listed(space: Space) -> Result {
    let none = asts(&space, &["get"]).await?;
    ensure_eq!(none.err, format!("No resources found in {} namespace.\n", space.namespace), "nothing there");
    none.fine()?;
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let listed = asts(&space, &["get"]).await?.fine()?;
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure_eq!(lines[0], ["NAME", "READY", "UPDATED", "AVAILABLE", "PROGRESS", "AGE"], "titles");
    ensure_eq!(lines[1][..5], ["web", "1/1", "1/1", "1", "Complete"], "the set");
    let all = asts(&space, &["get", "-A"]).await?.fine()?;
    ensure!(all.lines().any(|line| line.starts_with(&space.namespace) && line.contains(" web ")), "{all}");
    for wrong in [vec!["get", "-w"], vec!["get", "-A", "web"], vec!["get", "web", "web", "-w"], vec!["get", "nope"]] {
        asts(&space, &wrong).await?.refused()?;
    }
    Ok(())
}

/// A line's words, by what it names.
fn line_of<'a>(text: &'a str, name: &str) -> Result<Vec<&'a str>> {
    let found =
        text.lines().map(|line| line.trim_start_matches(['│', '├', '└', '─', ' '])).find(|line| line.starts_with(name));
    Ok(found.context(format!("{name} in {text}"))?.split_whitespace().collect())
}

async fn a_set_is_shown_as_a_tree(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"partition": 1})))).await?;
    space.set_image("web", "v2").await?;
    space.condition_is("web", "Progressing", "True", Some("Partitioned")).await?;
    let shown = asts(&space, &["get", "web"]).await?.fine()?;
    let status = space.status("web").await?;
    let order: Vec<usize> =
        ["web ", "revision 2", "web-2", "web-1", "revision 1", "web-0", "Progressing Partitioned: "]
            .iter()
            .map(|name| {
                let is_it = |line: &str| line.trim_start_matches(['│', '├', '└', '─', ' ']).starts_with(name);
                shown.lines().position(is_it).context(format!("{name} in {shown}"))
            })
            .collect::<Result<_>>()?;
    ensure!(order.is_sorted(), "the order of the lines: {shown}");
    ensure_eq!(line_of(&shown, "web ")?[1..5], ["3/3", "ready,", "2/2", "updated"], "the set");
    let revision = line_of(&shown, "revision 2")?;
    ensure_eq!(revision[2], status.update_revision.unwrap_or_default(), "the revision's name");
    ensure_eq!(revision[3..8], ["being", "rolled", "out,", "2", "Pods"], "the revision");
    let pod = space.pod("web-2").await?;
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_else(|| "-".into());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("the node")?;
    let updated = line_of(&shown, "web-2")?;
    ensure_eq!(updated[1..4], ["ready", "in", "place"], "an updated Pod");
    ensure_eq!(updated[5..7], ["ago", "1"], "an updated Pod restarted its container");
    ensure_eq!(updated[8..], [node.as_str(), ip.as_str()], "where it is");
    ensure_eq!(line_of(&shown, "web-0")?[1..4], ["ready", "created", "0"], "a Pod that was not");
    Ok(())
}

async fn the_tree_is_there_for_programs(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let tree: Value = serde_json::from_str(&asts(&space, &["get", "web", "-o", "json"]).await?.fine()?)?;
    let pods = tree["revisions"][0]["pods"].as_array().context("the Pods")?;
    ensure_eq!(pods.len(), 3, "Pods");
    ensure_eq!(pods[0]["name"], "web-2", "the first");
    ensure_eq!((&pods[0]["phase"], &pods[0]["made"]), (&json!("Available"), &json!("Created")), "how it stands");
    ensure_eq!(tree["notes"], json!([]), "notes");
    let yaml = asts(&space, &["get", "asts/web", "-o", "yaml"]).await?.fine()?;
    ensure!(yaml.contains("name: web-0"), "{yaml}");
    Ok(())
}

async fn the_tree_is_printed_again_when_it_changes(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let mut screen = Screen::open(&space, PLAIN, &["get", "web", "-w"], &[("TERM", "dumb")])?;
    screen.shows("the first tree", |text| text.contains("3/3 ready, 3/3 updated")).await?;
    space.set_image("web", "v2").await?;
    let is_on_the_way = |text: &str| text.contains("being rolled out");
    screen.shows("on the way", is_on_the_way).await?;
    let is_done = |text: &str| text.rsplit("NAME").next().is_some_and(|last| last.matches("in place").count() == 3);
    let text = screen.shows("the last tree", is_done).await?;
    ensure!(text.matches("NAME").count() >= 3, "it was printed too seldom: {text}");
    ensure!(!screen.is_full(), "the screen is not taken");
    space.kubectl(&["delete", "asts", "web"], None)?;
    ensure_eq!(screen.ended().await?, 1, "the exit code after a deletion");
    screen.shows("why", |text| text.contains("error: object has been deleted")).await?;
    Ok(())
}

async fn the_tree_says_why_nothing_happens(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.set_image("web", "broken").await?;
    space.pod_is("web-2", "cannot pull", |pod| !crate::harness::space::is_ready(pod)).await?;
    // Of one moment both: the tree sees the Pod itself, and its condition only once the manager has told it.
    eventually(seconds(30), "the Pod and the condition say why", async || {
        let text = asts(&space, &["get", "web"]).await?.fine()?;
        ensure!(text.contains(&format!("cannot pull {}", image("broken"))), "{text}");
        let waits = |line: &str| line.starts_with("Progressing Waiting") && line.contains("web-2");
        ensure!(text.lines().any(waits), "{text}");
        Ok(())
    })
    .await
}

async fn two_revisions_are_compared(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    ensure_eq!(asts(&space, &["diff", "web"]).await?.refused()?, "error: there is no earlier revision\n", "one alone");
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let first = space.revisions_of("web").await?[0].metadata.name.clone().unwrap_or_default();
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<String>>();
    let since = lines(asts(&space, &["diff", "web"]).await?.fine()?);
    ensure_eq!(since[0], format!("--- revision 1 ({first})"), "the old side");
    ensure_eq!(since[1], "+++ the present template", "the new side");
    for (sign, tag) in [("-", "v1"), ("+", "v2")] {
        let is_it = |line: &String| line.starts_with(sign) && line.ends_with(&format!("image: {}", image(tag)));
        ensure!(since.iter().any(is_it), "{sign}{tag} in {since:#?}");
    }
    let back = lines(asts(&space, &["diff", "web", "--revision", "2..1"]).await?.fine()?);
    ensure!(back.iter().any(|line| line.starts_with('+') && line.ends_with(&image("v1"))), "{back:#?}");
    let same = asts(&space, &["diff", "asts/web", "--revision=2"]).await?;
    ensure!(same.err.contains("have the same template"), "{same:?}");
    ensure_eq!(same.fine()?, "", "nothing to show");
    let missing = asts(&space, &["diff", "web", "--revision=7"]).await?.refused()?;
    ensure_eq!(missing, "error: unable to find specified revision 7 in history\n", "no such revision");
    ensure_eq!(asts(&space, &["diff", "web", "--revision=x"]).await?.code, 1, "no number");
    Ok(())
}

async fn events_of_all_that_is_the_sets_own_are_told(space: Space) -> Result {
    let claims = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}},
    }]);
    space.create(set("web", json!({"replicas": 1, "volumeClaimTemplates": claims}))).await?;
    space.create(set("web-other", json!({"replicas": 1}))).await?;
    space.event("SuccessfulCreate", "web-other-0").await?;
    space.event("ProvisioningFailed", "none").await?;
    let pull = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "pull", "namespace": space.namespace},
        "involvedObject": {"kind": "Pod", "name": "web-0123456789-pull", "namespace": space.namespace},
        "reason": "Failed", "type": "Warning", "message": "Failed to pull image",
    });
    space.kubectl(&["create", "-f", "-"], Some(&pull.to_string()))?;
    let told = asts(&space, &["events", "web"]).await?.fine()?;
    ensure!(told.starts_with("LAST SEEN"), "{told}");
    let objects =
        ["advancedstatefulset/web ", "pod/web-0 ", "persistentvolumeclaim/data-web-0 ", "pod/web-0123456789-pull "];
    for object in objects {
        ensure!(told.contains(object), "{object} in {told}");
    }
    ensure!(!told.contains("other"), "another set's: {told}");
    let warnings = asts(&space, &["events", "web", "--types=Warning"]).await?.fine()?;
    ensure!(warnings.contains("ProvisioningFailed") && !warnings.contains("SuccessfulCreate"), "{warnings}");
    space.create(set("quiet", json!({"replicas": 0}))).await?;
    let quiet = asts(&space, &["events", "quiet", "--types=Warning"]).await?;
    ensure!(quiet.err.starts_with("No events found for quiet in "), "{quiet:?}");
    quiet.fine()?;
    asts(&space, &["events", "nope"]).await?.refused()?;
    let refused = asts(&space, &["events", "web", "--types=Warning,foo"]).await?.refused()?;
    ensure!(refused.contains("valid --types are Normal or Warning"), "{refused}");
    Ok(())
}

async fn versions_are_told(space: Space) -> Result {
    let version = env!("CARGO_PKG_VERSION");
    let told: Vec<String> = asts(&space, &["version"]).await?.fine()?.lines().map(str::to_owned).collect();
    ensure_eq!(told[0], format!("Plugin Version: {version}"), "plugin");
    ensure_eq!(told[1], format!("Manager Version: {version}"), "manager");
    ensure!(told[2].starts_with("Server Version: v1."), "{told:?}");
    ensure_eq!(asts(&space, &["version", "--client"]).await?.fine()?, format!("Plugin Version: {version}\n"), "alone");
    // Everybody may know.
    let json = run_as_stranger(&space, &["version", "-o", "json"]).await?.fine()?;
    let json: Value = serde_json::from_str(&json)?;
    ensure_eq!(json["manager"]["version"], version, "for programs, by a stranger");
    // Where the server is away, what is known is told first.
    let away = asts(&space, &["version", "--server", "https://127.0.0.1:1"]).await?;
    ensure_eq!((away.code, away.out.as_str()), (1, &*format!("Plugin Version: {version}\n")), "the server is away");
    ensure!(away.err.starts_with("error: ") && away.err.contains("refused"), "{away:?}");
    let elsewhere = asts(&space, &["version", "--lease-namespace=default"]).await?.fine()?;
    ensure!(elsewhere.contains("Manager Version: unknown (there is no Lease default/asts-manager"), "{elsewhere}");
    Ok(())
}

async fn candidates(space: &Space, words: &[&str]) -> Result<Vec<String>> {
    let words = [&["asts", "__complete", "-n", &space.namespace], words].concat();
    let text = run(kubectl(space, &words)?, "").await?.fine()?;
    Ok(text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect())
}

async fn candidates_come_from_the_cluster(space: Space) -> Result {
    for name in ["web", "worker"] {
        space.create_settled(set(name, json!({"replicas": 1}))).await?;
    }
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for (words, expected) in [
        (vec!["rollout", "status", "w"], vec!["web", "worker", ":4"]),
        (vec!["rollout", "status", "web", ""], vec!["worker", ":4"]),
        (vec!["rollout", "status", "asts/we"], vec!["asts/web", ":4"]),
        (vec!["rollout", "undo", "web", "--to-revision="], vec!["2", "1", ":4"]),
        (vec!["diff", "web", "--revision", "1.."], vec!["1..2", "1..1", ":4"]),
        (vec!["rollout", "st"], vec!["status", ":4"]),
        (vec!["rollout", "pause", "-f", ""], vec![":0"]),
        (vec!["rollout", "undo", "nope", "--to-revision="], vec![":4"]),
    ] {
        ensure_eq!(candidates(&space, &words).await?, expected, "{words:?}");
    }
    let namespaces = candidates(&space, &["get", "-n", "kube-"]).await?;
    ensure!(namespaces.contains(&"kube-system".to_owned()), "{namespaces:?}");
    ensure!(candidates(&space, &["get", "--context", ""]).await?.len() > 1, "contexts");
    Ok(())
}

/// kubectl asks the program `kubectl_complete-asts`, as its own completion scripts have it do.
async fn kubectl_completes_the_plugin(space: Space) -> Result {
    space.create(set("web", json!({"replicas": 0}))).await?;
    let script = asts(&space, &["completion", "kubectl"]).await?.fine()?;
    let file = crate::cli_run::programs(&space)?.join("kubectl_complete-asts");
    std::fs::write(&file, script)?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let words = ["__complete", "asts", "--namespace", &space.namespace, "rollout", "status", "we"];
    let said = run(kubectl(&space, &words)?, "").await?.fine()?;
    ensure!(said.contains("web\t0 of 0 Pods ready\n") && said.contains(":4"), "{said}");
    let mut native = set("db", json!({"replicas": 0}));
    native["apiVersion"] = json!("apps/v1");
    native["kind"] = json!("StatefulSet");
    space.apply(&native)?;
    for (typed, candidate) in [("", "statefulset/db\n"), ("sts/d", "sts/db\n"), ("statefulset.apps.kruise.io/", ":4")] {
        let words = ["__complete", "asts", "--namespace", &space.namespace, "adopt", typed];
        let said = run(kubectl(&space, &words)?, "").await?.fine()?;
        ensure!(said.contains(candidate), "{typed:?}: {said}");
    }
    Ok(())
}

/// The script does in a real bash what a tab key would.
async fn bash_completes_the_plugin(space: Space) -> Result {
    space.create(set("web", json!({"replicas": 0}))).await?;
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = asts(&space, &["completion", shell]).await?.fine()?;
        ensure!(script.contains("kubectl-asts __complete"), "{shell}: {script}");
    }
    let press = |words: &str, at: usize| {
        format!(
            "source <(kubectl-asts completion bash); COMP_WORDS=({words}); COMP_CWORD={at}; __kubectl_asts_complete; echo \"${{COMPREPLY[*]}}\""
        )
    };
    let of = async |words: &str, at| -> Result<String> {
        let mut command = std::process::Command::new("bash");
        command.args(["--norc", "-c", &press(words, at)]).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", crate::cli_run::programs(&space)?.display()));
        command.env("KUBECONFIG", &space.suite.cluster.info.kubeconfig).env("HOME", &space.suite.cluster.info.dir);
        Ok(run(command, "").await?.fine()?.trim().to_owned())
    };
    let namespace = &space.namespace;
    ensure_eq!(of(&format!("kubectl-asts -n {namespace} rollout status w"), 5).await?, "web", "a name");
    ensure_eq!(of("kubectl-asts rollout re", 2).await?, "restart resume", "verbs");
    ensure_eq!(of("kubectl-asts rollout undo web --dry-run = s", 6).await?, "server", "behind an =");
    ensure_eq!(of("kubectl-asts rollout undo web --dry-run =", 5).await?, "none client server", "nothing yet");
    Ok(())
}

async fn colours_are_for_those_who_want_them(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let coloured = async |flags: &[&str], variables: &[(&str, &str)]| -> Result<bool> {
        let words = [&["get", "web"], flags].concat();
        Ok(asts_with(&space, &words, "", variables).await?.fine()?.contains("\x1b[32m"))
    };
    ensure!(!coloured(&[], &[]).await?, "no terminal, no colours");
    ensure!(coloured(&["--color=always"], &[]).await?, "the flag");
    ensure!(coloured(&["--colour", "always"], &[("NO_COLOR", "1")]).await?, "the flag wins");
    ensure!(coloured(&[], &[("CLICOLOR_FORCE", "1")]).await?, "CLICOLOR_FORCE");
    ensure!(!coloured(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).await?, "NO_COLOR");
    ensure!(!coloured(&["--color=never"], &[("CLICOLOR_FORCE", "1")]).await?, "the flag against it");
    Ok(())
}

/// As somebody who may get sets of the namespace by name, and nothing else.
async fn run_as_stranger(space: &Space, arguments: &[&str]) -> Result<Said> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "stranger"},
        "rules": [{"apiGroups": ["apps.asts.dev"], "resources": ["advancedstatefulsets"], "verbs": ["get"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "stranger"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "stranger"},
        "subjects": [{"kind": "ServiceAccount", "name": "stranger"}],
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger"}});
    for object in [account, role, binding] {
        space.apply(&object)?;
    }
    let file = install::identity(&space.suite.cluster.info, &space.client, &space.namespace, "stranger").await?;
    asts_with(space, arguments, "", &[("KUBECONFIG", &file.display().to_string())]).await
}

async fn who_may_not_look_is_told_so(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let now = run_as_stranger(&space, &["rollout", "status", "web", "--watch=false"]).await?.fine()?;
    ensure!(now.contains("successfully rolled out"), "what may be read is: {now}");
    let tree = run_as_stranger(&space, &["get", "web"]).await?.fine()?;
    ensure!(tree.contains("1/1 ready, 1/1 updated"), "the set: {tree}");
    ensure!(tree.contains("NotSeen: pods is forbidden"), "what is not seen is said: {tree}");
    space.set_image("web", "never-ready").await?;
    for words in [
        vec!["get"],
        vec!["get", "web", "-w"],
        vec!["rollout", "pause", "web"],
        vec!["rollout", "status", "web"],
        vec!["rollout", "history", "web"],
        vec!["rollout", "undo", "web"],
        vec!["events", "web"],
        vec!["diff", "web"],
    ] {
        let refused = run_as_stranger(&space, &words).await?.refused()?;
        ensure!(refused.contains("Error from server (Forbidden): "), "{words:?}: {refused}");
    }
    Ok(())
}

async fn long_names_are_shown_whole(space: Space) -> Result {
    let name = format!("a{}", "-very-long".repeat(17));
    let labels = json!({"app": "long"});
    let template = json!({"metadata": {"labels": labels}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": template});
    space.create_settled(set(&name, spec)).await?;
    let tree = asts(&space, &["get", &name]).await?.fine()?;
    ensure!(tree.contains(&format!("{name}-0")), "{tree}");
    let status = space.status(&name).await?;
    ensure!(!hash_in(status.update_revision.as_deref()).is_empty(), "a revision");
    let done = asts(&space, &["rollout", "status", &name]).await?.fine()?;
    ensure!(done.contains(&name), "{done}");
    Ok(())
}

async fn a_closed_pipe_is_no_error(space: Space) -> Result {
    space.create(set("web", json!({"replicas": 0}))).await?;
    let folder = crate::cli_run::programs(&space)?;
    for words in ["--help", "version", "get web -w", "rollout history web", "completion bash"] {
        let mut command = std::process::Command::new("bash");
        let line =
            format!("timeout 20 kubectl-asts {words} -n {} | head -c 0; echo ${{PIPESTATUS[0]}}", space.namespace);
        command.args(["-c", &line]).env_clear().env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        command.env("KUBECONFIG", &space.suite.cluster.info.kubeconfig).env("HOME", &space.suite.cluster.info.dir);
        let said = run(command, "").await?;
        ensure_eq!(said.err, "", "{words}");
        ensure_eq!(said.out, "0\n", "{words}");
    }
    Ok(())
}

async fn a_server_that_is_not_there_is_told(space: Space) -> Result {
    for words in [["rollout", "status", "web"], ["rollout", "pause", "web"]] {
        let words = [&words[..], &["--server", "https://127.0.0.1:1"]].concat();
        let refused = asts(&space, &words).await?.refused()?;
        ensure!(refused.starts_with("error: ") && refused.contains("refused"), "{refused}");
    }
    let nowhere = asts(&space, &["get", "web", "--kubeconfig", "/no/such/file"]).await?.refused()?;
    ensure!(nowhere.starts_with("error: cannot read the kubeconfig: "), "{nowhere}");
    let context = asts(&space, &["get", "web", "--context", "nope"]).await?.refused()?;
    ensure!(context.contains("nope"), "{context}");
    Ok(())
}
