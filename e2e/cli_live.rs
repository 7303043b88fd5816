//! The views that draw in a terminal, in a pseudo-terminal whose screen is read.

use serde_json::json;

use crate::cli_run::{Screen, asts};
use crate::harness::audit::{Request, requests_of};
use crate::harness::manifest::rolling_update;
use crate::harness::wait::seconds;
use crate::harness::{Failure, Result, Space, Suite, eventually, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    the_tree_takes_the_whole_screen_until_q,
    a_long_tree_is_scrolled,
    a_small_terminal_gets_lines,
    a_rollout_is_drawn_until_it_is_done,
    a_stuck_rollout_names_the_pod_and_the_reason,
    a_revision_that_is_waited_for_is_asked_for_once,
    what_nodes_pull_ahead_is_shown,
    a_terminal_without_colours_gets_none,
    eighty_columns_show_all_there_is_to_say_of_a_pod,
    a_screen_that_changes_its_size_is_drawn_anew,
    a_signal_gives_the_terminal_back,
    a_server_that_goes_away_is_waited_for,
];

const SIZE: (u16, u16) = (80, 24);

async fn the_tree_takes_the_whole_screen_until_q(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let mut screen = Screen::open(&space, SIZE, &["get", "web", "-w"], &[])?;
    let text = screen.shows("the tree", |text| text.contains("web-0") && text.contains("q quits")).await?;
    ensure!(screen.is_full(), "the whole screen is taken");
    ensure_eq!(text.lines().count(), 24, "lines");
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines[0].starts_with(&format!("{}/web  ", space.namespace)), "the head: {}", lines[0]);
    ensure!(lines[1].starts_with("NAME"), "the titles: {}", lines[1]);
    ensure!(lines[2].starts_with("web") && lines[2].contains("3/3 ready, 3/3 updated"), "the set: {}", lines[2]);
    ensure!(lines[3].starts_with("└─ revision 1 web-"), "the revision: {}", lines[3]);
    for (line, pod) in lines[4..7].iter().zip(["├─ web-2", "├─ web-1", "└─ web-0"]) {
        ensure!(line.starts_with(&format!("   {pod}")) && line.contains("ready"), "a Pod: {line}");
    }
    ensure_eq!(lines[23], "q quits", "the foot");
    space.set_image("web", "v2-slow").await?;
    screen.shows("the rollout", |text| text.contains("being rolled out") && text.contains("being replaced, ")).await?;
    screen.shows("its end", |text| text.contains("3/3 updated") && text.matches("in place").count() == 3).await?;
    screen.press("q")?;
    ensure_eq!(screen.ended().await?, 0, "the exit code");
    ensure!(!screen.is_full(), "the screen is given back");
    ensure!(screen.written().contains("\x1b[?25h"), "the cursor is shown again");
    let mut screen = Screen::open(&space, SIZE, &["get", "web", "-w"], &[])?;
    screen.shows("the tree", |text| text.contains("web-0")).await?;
    space.kubectl(&["delete", "asts", "web"], None)?;
    ensure_eq!(screen.ended().await?, 1, "the exit code after a deletion");
    ensure!(screen.text().contains("error: object has been deleted"), "{}", screen.text());
    Ok(())
}

async fn a_long_tree_is_scrolled(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 30, "podManagementPolicy": "Parallel"}))).await?;
    let mut screen = Screen::open(&space, SIZE, &["get", "web", "-w"], &[])?;
    let text = screen.shows("the top", |text| text.contains("web-29 ") && text.contains("11 below")).await?;
    ensure!(!text.contains("web-3 "), "the end is not in sight: {text}");
    screen.press("G")?;
    screen.shows("the end", |text| text.contains("└─ web-0 ") && text.contains("11 lines above, 0 below")).await?;
    screen.press("g\x1b[B")?;
    screen.shows("one line down", |text| text.contains("1 lines above, 10 below")).await?;
    screen.press("\x03")?;
    ensure_eq!(screen.ended().await?, 0, "the exit code");
    Ok(())
}

async fn a_small_terminal_gets_lines(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let screen = Screen::open(&space, (60, 10), &["get", "web", "-w"], &[])?;
    screen.shows("the tree", |text| text.contains("web-0")).await?;
    ensure!(!screen.is_full(), "the screen is not taken");
    ensure!(screen.text().lines().all(|line| line.chars().count() <= 60), "{}", screen.text());
    Ok(())
}

async fn a_rollout_is_drawn_until_it_is_done(space: Space) -> Result {
    space
        .create_settled(set(
            "web",
            json!({"updateStrategy": {"rollingUpdate": {"inPlaceUpdateStrategy": {"gracePeriodSeconds": 2}}}}),
        ))
        .await?;
    space.set_image("web", "v2-slow").await?;
    let mut screen = Screen::open(&space, SIZE, &["rollout", "status", "web"], &[])?;
    let text = screen.shows("the bar", |text| text.contains("/3 updated, ")).await?;
    let starts = ["[....................] 0/3 updated, ", "[######..............] 1/3 updated, "];
    ensure!(starts.iter().any(|start| text.starts_with(start)), "{text}");
    // Of whichever Pod is next by now.
    screen.shows("a closed gate", |text| text.contains("  gate closed  ")).await?;
    let halves =
        |text: &str| text.contains("[######..............] 1/3") || text.contains("[#############.......] 2/3");
    screen.shows("half of it", halves).await?;
    ensure_eq!(screen.ended().await?, 0, "the exit code");
    let text = screen.shows("the end", |text| text.contains("successfully rolled out")).await?;
    let last = "advancedstatefulset.apps.asts.dev \"web\" successfully rolled out";
    ensure_eq!(text.trim_end(), last, "what stays on the screen");
    Ok(())
}

async fn a_stuck_rollout_names_the_pod_and_the_reason(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.set_image("web", "broken").await?;
    let mut screen = Screen::open(&space, SIZE, &["rollout", "status", "web", "--timeout=8s"], &[])?;
    let both = |text: &str| text.contains("  web-2  cannot pull ") && text.contains("Progressing Waiting");
    screen.shows("the reason", both).await?;
    ensure_eq!(screen.ended().await?, 1, "the exit code");
    screen.shows("the end", |text| text.contains("error: timed out waiting for the condition")).await?;
    Ok(())
}

async fn a_revision_that_is_waited_for_is_asked_for_once(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.set_image("web", "never-ready").await?;
    space.status_is("web", "the rollout", |status| status.updated_replicas == 1).await?;
    let flags = ["rollout", "status", "web", "--revision=2", "--timeout=5s"];
    let mut screen = Screen::open(&space, SIZE, &flags, &[])?;
    screen.shows("the bar", |text| text.contains("/3 updated, ")).await?;
    ensure_eq!(screen.ended().await?, 1, "the exit code");
    let is_it = |request: &Request| {
        request.user_agent.starts_with("kubectl-asts/")
            && (request.verb.as_str(), request.resource().as_str()) == ("get", "controllerrevisions")
            && request.object_ref.namespace == space.namespace
    };
    let log = &space.suite.cluster.info.audit_log;
    eventually(seconds(10), "the revision was asked for", async || {
        let count = requests_of(log, "asts-admin")?.iter().filter(|request| is_it(request)).count();
        ensure_eq!(count, 1, "reads of the revision");
        Ok(())
    })
    .await
}

async fn what_nodes_pull_ahead_is_shown(space: Space) -> Result {
    let strategy = rolling_update(json!({"inPlaceUpdateStrategy": {"prePull": true}}));
    space.create_settled(set("web", strategy)).await?;
    let tree = Screen::open(&space, SIZE, &["get", "web", "-w"], &[])?;
    tree.shows("the tree", |text| text.contains("web-0")).await?;
    space.set_image("web", "v2-slow").await?;
    let board = Screen::open(&space, SIZE, &["rollout", "status", "web"], &[])?;
    let pulls = |text: &str| {
        text.lines()
            .any(|line| line.contains("-pull ") && line.contains(" pulls for ") && line.contains(": docker.io/"))
    };
    let (on_tree, on_board) = tokio::join!(tree.shows("a helper", pulls), board.shows("a helper", pulls));
    let (on_tree, on_board) = (on_tree?, on_board?);
    ensure!(on_tree.contains("pulled ahead"), "{on_tree}");
    ensure!(on_tree.contains("MADE") && on_tree.contains("AGE"), "the Pods keep their columns: {on_tree}");
    let line = on_board.lines().nth(1).unwrap_or_default();
    ensure!(line.contains("asts-test:v2"), "the first line below the bar: {on_board}");
    let printed = asts(&space, &["get", "web"]).await?.fine()?;
    ensure!(printed.contains("-slow, web-2 ") && printed.contains(" wait"), "printed once: {printed}");
    tree.shows("no helper", |text| text.contains("3/3 updated") && !text.contains("pulled ahead")).await?;
    Ok(())
}

async fn a_terminal_without_colours_gets_none(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    for (variables, coloured) in [(vec![], true), (vec![("NO_COLOR", "1")], false), (vec![("TERM", "dumb")], false)] {
        let mut screen = Screen::open(&space, SIZE, &["get", "web"], &variables)?;
        ensure_eq!(screen.ended().await?, 0, "the exit code");
        screen.shows("the tree", |text| text.contains("web-0")).await?;
        ensure_eq!(screen.written().contains("\x1b[32m"), coloured, "colours with {variables:?}");
    }
    Ok(())
}

/// The words of a screen's line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().filter(|word| !word.chars().all(|letter| "│├└─".contains(letter))).collect()
}

async fn eighty_columns_show_all_there_is_to_say_of_a_pod(space: Space) -> Result {
    space.create_settled(set("web", json!({"podManagementPolicy": "Parallel"}))).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for size in [SIZE, (120, 40)] {
        let screen = Screen::open(&space, size, &["get", "web", "-w"], &[])?;
        let text = screen.shows("the tree", |text| text.contains("web-0") && text.contains("q quits")).await?;
        ensure_eq!(text.lines().count(), usize::from(size.1), "lines");
        let lines: Vec<&str> = text.lines().collect();
        ensure_eq!(words(lines[1]), ["NAME", "STATE", "MADE", "RESTARTS", "AGE", "NODE", "IP"], "the titles");
        for pod in space.pods_of("web").await? {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let line =
                lines.iter().find(|line| words(line).first() == Some(&name.as_str())).copied().unwrap_or_default();
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
            let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
            let shown = words(line);
            ensure!(shown.get(1) == Some(&"ready") && line.contains("in place"), "{name}: {line:?}");
            ensure_eq!(shown[shown.len() - 2..], [&node, &ip], "node and IP of {name}");
        }
    }
    // What is too long for its column is said below.
    space.set_image("web", "broken").await?;
    let screen = Screen::open(&space, SIZE, &["get", "web", "-w"], &[])?;
    let told = format!("cannot pull {}", image("broken"));
    let text = screen.shows("why it does not run", |text| text.contains(&told)).await?;
    ensure!(text.contains(" RST ") && text.contains(" NODE ") && text.contains(" IP"), "{text}");
    Ok(())
}

async fn a_screen_that_changes_its_size_is_drawn_anew(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 25, "podManagementPolicy": "Parallel"}))).await?;
    let mut screen = Screen::open(&space, SIZE, &["get", "web", "-w"], &[("NO_COLOR", "1")])?;
    screen.shows("a part", |text| text.contains("6 below") && text.lines().count() == 24).await?;
    screen.resize((120, 40))?;
    let is_whole = |text: &str| {
        text.lines().count() == 40 && text.contains("└─ web-0 ") && text.ends_with("q quits") && text.contains(" NODE ")
    };
    screen.shows("all of it", is_whole).await?;
    screen.resize((40, 12))?;
    let text = screen
        .shows("a small part", |text| {
            text.lines().count() == 12 && text.contains("arrows scroll") && text.contains("web-24")
        })
        .await?;
    ensure!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
    screen.resize(SIZE)?;
    screen.shows("a part again", |text| text.contains("6 below") && text.lines().count() == 24).await?;
    let coloured = ["\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[1m"].iter().any(|code| screen.written().contains(code));
    ensure!(!coloured, "colours in spite of NO_COLOR");
    screen.press("q")?;
    ensure_eq!(screen.ended().await?, 0, "the exit code");
    Ok(())
}

async fn a_signal_gives_the_terminal_back(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut screen = Screen::open(&space, SIZE, &["get", "web", "-w"], &[])?;
        screen.shows("the tree", |text| text.contains("web-0")).await?;
        ensure!(screen.is_full() && screen.settings()?.contains("-icanon"), "the screen and the keys are taken");
        screen.signal(name)?;
        ensure_eq!(screen.ended().await?, code, "the exit code after {name}");
        eventually(seconds(5), "the screen is given back", async || {
            ensure!(!screen.is_full() && screen.written().contains("\x1b[?25h"), "after {name}");
            let settings = screen.settings()?;
            ensure!(!settings.contains("-icanon") && !settings.contains("-echo "), "after {name}: {settings}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// In a cluster of its own, whose apiserver goes and comes back.
async fn a_server_that_goes_away_is_waited_for(space: Space) -> Result {
    let suite = Suite::start_apart().await?;
    let apart = suite.space("cli-gone").await?;
    apart.create_settled(set("web", json!({}))).await?;
    apart.set_image("web", "never-ready").await?;
    let mut screen = Screen::open(&apart, SIZE, &["get", "web", "-w"], &[])?;
    screen.shows("the tree", |text| text.contains("being rolled out")).await?;
    let watched = tokio::spawn({
        let apart = apart.clone();
        async move { asts(&apart, &["rollout", "status", "web", "--timeout=100s"]).await }
    });
    tokio::time::sleep(seconds(2)).await;
    suite.cluster.command("kill kube-apiserver")?;
    screen.shows("the loss", |text| text.contains("connection lost, trying again: ")).await?;
    suite.cluster.command("start kube-apiserver")?;
    eventually(seconds(60), "the server is back", async || apart.set_image("web", "v2").await).await?;
    screen.shows("the end of the rollout", |text| text.contains("3/3 ready, 3/3 updated")).await?;
    let said = watched.await.map_err(|error| Failure(error.to_string()))??;
    ensure!(said.err.contains("trying again"), "{said:?}");
    ensure!(said.fine()?.ends_with("successfully rolled out\n"), "the end");
    screen.press("q")?;
    ensure_eq!(screen.ended().await?, 0, "the exit code");
    space.suite.remember(&suite)
}
