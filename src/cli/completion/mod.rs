//! `kubectl asts completion`, and the candidates that shells ask for: `__complete`, in the form of cobra's, which kubectl's
//! own completion hands on for plugins (`kubectl_complete-asts`).

mod statefulsets;
mod wanted;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, ValueEnum};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ListParams;
use kube::config::Kubeconfig;

use super::arguments::Arguments;
use super::connect::{ConnectionFlags, Session};
use super::error::CliError;
use super::output::clean;
use super::target::Target;
use super::{Exit, follow};
use wanted::{Asked, Candidate, Wanted};

/// The first word of a request for candidates.
pub const REQUEST: &str = "__complete";
/// cobra's directives: complete files instead; complete no files.
const FILES: u8 = 0;
const NO_FILES: u8 = 4;
/// How long a cluster may take: somebody waits with a finger on a key.
const LIMIT: Duration = Duration::from_secs(3);

/// Flags of `completion`.
#[derive(Args, Debug)]
#[command(after_help = "\
With kubectl, whose completion asks kubectl_complete-asts for kubectl asts:
  kubectl asts completion kubectl > ~/.local/bin/kubectl_complete-asts
  chmod +x ~/.local/bin/kubectl_complete-asts

Where the plugin is called as kubectl-asts:
  source <(kubectl-asts completion bash)
  kubectl-asts completion zsh > \"${fpath[1]}/_kubectl-asts\"
  kubectl-asts completion fish > ~/.config/fish/completions/kubectl-asts.fish
  kubectl-asts completion powershell | Out-String | Invoke-Expression

Bash is tested with every change; zsh 5.9 and fish 3.6 were tried by hand; PowerShell was not tried.")]
pub struct Completion {
    /// For which program
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    /// The script that kubectl's own completion calls
    Kubectl,
    Powershell,
    Zsh,
}

impl Completion {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let script = match self.shell {
            Shell::Bash => include_str!("bash.txt"),
            Shell::Fish => include_str!("fish.txt"),
            Shell::Kubectl => include_str!("kubectl.txt"),
            Shell::Powershell => include_str!("powershell.txt"),
            Shell::Zsh => include_str!("zsh.txt"),
        };
        std::io::stdout().write_all(script.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

/// Answers a request for candidates. What cannot be found out is left out: nobody reads errors here.
pub async fn answer(words: &[String]) -> Result<Exit, CliError> {
    let mut command = Arguments::command();
    command.build();
    let asked = wanted::asked(&command, words);
    let found = tokio::time::timeout(LIMIT, found(&asked)).await;
    let candidates = match found {
        Ok(Ok(candidates)) => candidates,
        Ok(Err(error)) => {
            eprintln!("{}", error.shown());
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let directive = if asked.wanted == Wanted::Files { FILES } else { NO_FILES };
    std::io::stdout().write_all(text(&asked, candidates, directive).as_bytes())?;
    Ok(Exit::SUCCESS)
}

fn text(asked: &Asked, candidates: Vec<Candidate>, directive: u8) -> String {
    let mut text = String::new();
    for Candidate { word, about } in candidates {
        if !word.starts_with(&asked.current) {
            continue;
        }
        let about = about.lines().next().unwrap_or_default();
        let gap = if about.is_empty() { "" } else { "\t" };
        text += &format!("{}{gap}{}\n", clean(&word), clean(about));
    }
    format!("{text}:{directive}\n")
}

async fn found(asked: &Asked) -> Result<Vec<Candidate>, CliError> {
    Ok(match &asked.wanted {
        Wanted::Files | Wanted::Nothing => Vec::new(),
        Wanted::Words(words) => words.clone(),
        Wanted::Sets => sets(asked, &connection(asked)?.session().await?).await?,
        Wanted::StatefulSets => statefulsets::found(asked, &connection(asked)?.session().await?).await?,
        Wanted::Revisions => revisions(asked, &connection(asked)?.session().await?).await?,
        Wanted::Namespaces => {
            let session = connection(asked)?.session().await?;
            let api: Api<Namespace> = Api::all(session.client);
            let found = api.list_metadata(&ListParams::default()).await?.items;
            found.into_iter().filter_map(|one| one.metadata.name).map(Candidate::plain).collect()
        }
        Wanted::Contexts | Wanted::Clusters | Wanted::Users => of_kubeconfig(asked)?,
    })
}

/// The flags of the typed line that say which cluster.
fn connection(asked: &Asked) -> Result<ConnectionFlags, CliError> {
    let words = ["kubectl-asts"].into_iter().chain(asked.connection.iter().map(String::as_str)).chain(["version"]);
    let parsed = Arguments::try_parse_from(words).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(parsed.connection)
}

async fn sets(asked: &Asked, session: &Session) -> Result<Vec<Candidate>, CliError> {
    let target = Target { namespace: session.namespace.clone(), name: String::new() };
    let found = target.api(session).list(&ListParams::default()).await?.items;
    let before = asked.current.split_once('/').map(|(kind, _)| format!("{kind}/")).unwrap_or_default();
    let taken: BTreeSet<&str> =
        asked.positionals.iter().map(|word| word.split_once('/').map_or(word.as_str(), |(_, name)| name)).collect();
    let candidate = |set: crate::api::AdvancedStatefulSet| {
        let name = set.metadata.name?;
        let status = set.status.unwrap_or_default();
        let about = format!("{} of {} Pods ready", status.ready_replicas, set.spec.replicas.unwrap_or(1));
        (!taken.contains(name.as_str())).then(|| Candidate { word: format!("{before}{name}"), about })
    };
    Ok(found.into_iter().filter_map(candidate).collect())
}

async fn revisions(asked: &Asked, session: &Session) -> Result<Vec<Candidate>, CliError> {
    let Some(word) = asked.positionals.last() else { return Ok(Vec::new()) };
    let target = Target { namespace: session.namespace.clone(), name: super::target::parse_name(word)? };
    let set = target.api(session).get(&target.name).await?;
    let revisions = follow::revisions(session, &set).await?;
    // The second of two, as in 2..5.
    let before = asked.current.split_once("..").map(|(from, _)| format!("{from}..")).unwrap_or_default();
    let candidate = |one: super::seen::RevisionSeen| Candidate {
        word: format!("{before}{}", one.facts.number),
        about: one.change_cause.unwrap_or_else(|| one.facts.name.to_string()),
    };
    Ok(revisions.into_iter().rev().map(candidate).collect())
}

fn of_kubeconfig(asked: &Asked) -> Result<Vec<Candidate>, CliError> {
    let wrong = |error| CliError::Kubeconfig(Box::new(error));
    let file = match connection(asked)?.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(wrong)?,
        None => Kubeconfig::read().map_err(wrong)?,
    };
    let names: Vec<String> = match asked.wanted {
        Wanted::Contexts => file.contexts.into_iter().map(|one| one.name).collect(),
        Wanted::Clusters => file.clusters.into_iter().map(|one| one.name).collect(),
        _ => file.auth_infos.into_iter().map(|one| one.name).collect(),
    };
    Ok(names.into_iter().map(Candidate::plain).collect())
}
