//! Runs docs/tutorial.md: every command of its `console` blocks, in order, on a cluster with nothing in it.

use std::ffi::OsString;
use std::process::Command;

use crate::cli_run::{programs_of, run};
use crate::harness::cluster::{Cluster, Info};
use crate::harness::manager::{Manager, program};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually};
use crate::{ensure, ensure_eq, test_list};

test_list![
    every_command_prints_what_the_page_says,
    placeholders_stand_for_what_differs,
    what_is_built_and_exported_is_there,
];

const PAGE: &str = include_str!("../docs/tutorial.md");
/// The page has the reader start the manager before this command.
const NEEDS_MANAGER: &str = "kubectl asts version";
/// What only looks may be tried again until it shows what is to come.
const LOOKS: [&str; 5] = [
    "kubectl asts get ",
    "kubectl asts rollout history ",
    "kubectl asts events ",
    "kubectl asts version",
    "kubectl get ",
];

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    output: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            steps.push(Step { command: command.to_owned(), output: Vec::new() });
        } else if let Some(step) = steps.last_mut().filter(|_| in_block) {
            step.output.push(line.to_owned());
        }
    }
    steps
}

/// The commands of blocks that are not compared, without comments.
fn other_lines(page: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = !in_block && line == "```";
        } else if in_block {
            lines.push(line.split("  #").next().unwrap_or(line).trim());
        }
    }
    lines
}

/// Builds of Kubernetes and of a release take many minutes: that make knows how is looked at here, and that the PATH of
/// the page leads to what it builds. `make package` and the cluster of every test do run them.
async fn what_is_built_and_exported_is_there(space: Space) -> Result {
    let info = &space.suite.cluster.info;
    let in_shell = async |script: &str| -> Result<String> {
        let mut shell = Command::new("bash");
        shell.args(["-ec", script]).current_dir(env!("CARGO_MANIFEST_DIR")).env("KUBECONFIG", &info.kubeconfig);
        run(shell, "").await?.fine()
    };
    let lines = other_lines(PAGE);
    let mut planned = String::new();
    for line in lines.iter().filter(|line| line.starts_with("make ")) {
        planned += &in_shell(&line.replacen("make ", "make --no-print-directory -n ", 1)).await.context(*line)?;
    }
    ensure!(
        planned.contains("asts-cluster up") && planned.contains("--bin kubectl-asts"),
        "make would run:\n{planned}"
    );
    let export = lines.iter().find(|line| line.starts_with("export PATH=")).context("export PATH")?;
    let found = in_shell(&format!("{export}\ncommand -v kubectl\necho \"$PATH\"")).await?;
    let (kubectl, path) = found.trim_end().split_once('\n').context("what is found")?;
    ensure_eq!(kubectl, info.kubectl.first().context("kubectl")?.as_str(), "the kubectl of the cluster");
    let host = planned.split_whitespace().skip_while(|word| *word != "--target").nth(1).context("--target")?;
    let folder = format!("{}/target/{host}/release", env!("CARGO_MANIFEST_DIR"));
    ensure!(path.split(':').any(|one| one == folder), "{folder} is not on the PATH of the page: {path}");
    Ok(())
}

/// The manager's command line on the page, with the program that is built.
fn manager_of(page: &str) -> Result<Vec<OsString>> {
    let start = "cargo run --release --bin asts-manager";
    let arguments = page.lines().find_map(|line| line.strip_prefix(start)).context(start)?;
    let arguments = arguments.split_whitespace().filter(|word| *word != "--").map(OsString::from);
    Ok(std::iter::once(program()).chain(arguments).collect())
}

/// Whether a word is as the page has it: `<name>` stands for some letters.
fn word_fits(pattern: &str, word: &str) -> bool {
    match (pattern.split_once('<'), pattern) {
        (_, "<none>") => word == pattern,
        (None, _) => word == pattern,
        (Some((before, rest)), _) => {
            let after = rest.split_once('>').map_or("", |(_, after)| after);
            let middle = word.strip_prefix(before).and_then(|word| word.strip_suffix(after));
            middle.is_some_and(|middle| !middle.is_empty())
        }
    }
}

/// Columns may be wider or narrower.
fn line_fits(pattern: &str, line: &str) -> bool {
    let (pattern, line): (Vec<&str>, Vec<&str>) =
        (pattern.split_whitespace().collect(), line.split_whitespace().collect());
    pattern.len() == line.len() && pattern.iter().zip(line).all(|(pattern, word)| word_fits(pattern, word))
}

fn output_fits(patterns: &[String], lines: &[&str]) -> bool {
    match (patterns.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "..." => {
            (0..=lines.len()).any(|skipped| output_fits(rest, &lines[skipped..]))
        }
        (Some((pattern, patterns)), Some((line, lines))) => line_fits(pattern, line) && output_fits(patterns, lines),
        _ => false,
    }
}

async fn placeholders_stand_for_what_differs(_space: Space) -> Result {
    let steps = steps("text\n```console\n$ one\na <age> b-<hash>\n...\nlast <none>\n```\n```\n$ not this\n```\n");
    ensure_eq!(steps.len(), 1, "commands");
    let fits = |text: &str| output_fits(&steps[0].output, &text.lines().collect::<Vec<_>>());
    ensure!(fits("a   3s b-xyz\nlast <none>") && fits("a 3s b-xyz\nmore\nmore\nlast <none>"), "these fit");
    for wrong in ["", "a 3s b-xyz", "a 3s b-\nlast <none>", "a 3s c-xyz\nlast <none>", "a 3s b-xyz\nlast thing"] {
        ensure!(!fits(wrong), "{wrong:?} fits");
    }
    Ok(())
}

async fn print_of(info: &Info, command: &str) -> Result<String> {
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
    shell.env("PATH", format!("{}:/usr/bin:/bin", programs_of(info, "tutorial")?.display()));
    shell.env("KUBECONFIG", &info.kubeconfig).env("HOME", &info.dir);
    run(shell, "").await?.fine()
}

async fn every_command_prints_what_the_page_says(_space: Space) -> Result {
    let cluster = Cluster::start("local", &["--kwok-nodes=3"])?;
    let info = &cluster.info;
    let mut manager = None;
    for Step { command, output } in steps(PAGE) {
        if command == NEEDS_MANAGER {
            let kubeconfig = [("KUBECONFIG", info.kubeconfig.clone().into_os_string())];
            manager = Some(Manager::start_command(&manager_of(PAGE)?, &kubeconfig, info.dir.join("manager.log"))?);
        }
        let check = async || {
            let printed = print_of(info, &command).await.context(&command)?;
            let lines: Vec<&str> = printed.trim_end().lines().collect();
            let wanted = output.len() - output.iter().rev().take_while(|line| line.is_empty()).count();
            ensure!(
                output_fits(&output[..wanted], &lines),
                "{command} printed\n{printed}the page says\n{}",
                output.join("\n")
            );
            Ok(())
        };
        if LOOKS.iter().any(|looks| command.starts_with(looks)) {
            eventually(seconds(30), &command, check).await?;
        } else {
            check().await?;
        }
    }
    ensure!(manager.as_mut().is_some_and(Manager::is_alive), "the manager runs to the end");
    Ok(())
}
