//! `kubectl asts plan`: what a change would do, before it is made. The manager's own planner, on what is there now and
//! the set as a dry run of the apiserver gives it back.
//!
//! ```text
//! flags ─► propose (dry run) ─► look (live reads) ─► explain + forecast (pure) ─► report ─► text, JSON, YAML
//! ```

mod edits;
mod forecast;
mod look;
mod merges;
mod pods;
mod propose;
mod report;
mod spec_fields;
mod text;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::{ArgAction, Args};
use serde_json::{Value, json};

use super::Exit;
use super::connect::{ConnectionFlags, Session};
use super::error::CliError;
use super::manifest::{self, Descent, Manifest};
use super::output::{Format, formatted};
use super::target::{Target, is_set, parse_names};
use super::terminal::{Colour, Surroundings};
use super::truth::Truth;
use crate::control::abilities::InPlace;
use crate::model::{Patterns, Snapshot};
use crate::plan::explain::{Explained, Explanation, Verdict, explain};
use edits::Edit;
use forecast::{Forecast, Forecasted, forecast};
use look::{Look, Settings};
use propose::{Applying, Change, Proposal};
use report::{Found, Report};

/// Rounds of questions before it is given up, beside those in which Pods are asked for, so many at once.
const ROUNDS_MAX: usize = 16;
const PODS_A_ROUND: usize = 16;

const EXAMPLES: &str = "\
Examples:
  # What would applying this file do?
  kubectl asts plan -f web.yaml

  # What would another image do to the Pods of the set web?
  kubectl asts plan web --set image=app=app:v3

  # An environment variable, and any other field
  kubectl asts plan web --set env=app.LOG_LEVEL=debug
  kubectl asts plan web -p '{\"spec\": {\"replicas\": 7}}'

  # What is the manager about to do, with nothing changed?
  kubectl asts plan web

  # Refuse a change in a pipeline that would re-create a Pod, or that cannot happen
  kubectl asts plan -f web.yaml; case $? in 0|2) ;; *) exit 1 ;; esac

Exit codes: 0 nothing would change; 2 no Pod would be re-created or removed; 3 some Pod would; 1 it could not be told,
or cannot happen: the spec or its template is refused, the set is being deleted, or a policy denies the updates of
Pods. Standard error says why.

Waves: Pods that are taken down together. Each wave is taken to come up at once; the manager begins with the next Pod as
soon as one is available again, and a Pod that is removed waits for the others, so it may go later. Nothing is written:
the apiserver and its policies are asked by dry runs, of the first Pod among those that are alike.";

/// Flags of `plan`.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES, after_help = "Examples: kubectl asts plan --help")]
pub struct PlanFlags {
    /// Names of sets that are there: NAME, asts/NAME, or asts NAME
    #[arg(value_name = "NAME", required_unless_present = "filename")]
    names: Vec<String>,
    /// Files, folders, URLs, or - for standard input, with the sets as they are to be
    #[arg(short, long, value_name = "FILE", conflicts_with = "names")]
    filename: Vec<PathBuf>,
    /// Read folders in folders too
    #[arg(
        short = 'R', long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    recursive: bool,
    /// A change: image=CONTAINER=IMAGE (* for all containers), env=CONTAINER.NAME=VALUE, or env=CONTAINER.NAME-; may be given many times
    #[arg(long = "set", value_name = "CHANGE")]
    edits: Vec<Edit>,
    /// A patch of the set, in JSON or YAML
    #[arg(short, long, value_name = "PATCH", conflicts_with = "filename")]
    patch: Option<String>,
    /// What kind of patch it is
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = PatchType::Merge, requires = "patch")]
    patch_type: PatchType,
    /// How the plan is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// When to use colours
    #[arg(long, visible_alias = "colour", value_enum, value_name = "WHEN", default_value_t)]
    color: Colour,
    /// Apply the files as kubectl apply --server-side does
    #[arg(
        long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true, requires = "filename"
    )]
    server_side: bool,
    /// With --server-side: take fields over that others own
    #[arg(
        long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true, requires = "server_side"
    )]
    force_conflicts: bool,
    /// Name under which the fields would be owned
    #[arg(long, value_name = "NAME", default_value = "kubectl")]
    field_manager: String,
    /// The manager's flag of this name: auto, stock, customised, or kinds of field
    #[arg(long, value_name = "HOW", default_value = "auto")]
    in_place: InPlace,
    /// The manager's flag of this name; may be given many times
    #[arg(long, value_name = "PATTERN")]
    injector_annotations: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PatchType {
    Merge,
    Json,
    /// Not for custom resources: the apiserver refuses it
    Strategic,
}

/// Forms of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

impl PlanFlags {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let change = self.change()?;
        let session = connection.session().await?;
        let settings = Settings {
            in_place: self.in_place.clone(),
            injectors: Patterns::of_injectors(self.injector_annotations.iter().map(String::as_str)),
        };
        let mut reports = Vec::new();
        if self.filename.is_empty() {
            for name in parse_names(&self.names)? {
                let target = Target { namespace: session.namespace.clone(), name };
                let proposal = propose::of_change(&session, target, &self.edits, &change, &self.applying()).await?;
                reports.push(plan_one(&session, &settings, proposal).await?);
            }
        } else {
            for (target, manifest) in self.manifests(&session).await? {
                let proposal = propose::of_manifest(&session, target, &manifest, &self.edits, &self.applying()).await?;
                reports.push(plan_one(&session, &settings, proposal).await?);
            }
        }
        self.print(&reports)?;
        let refused = |report: &Report| {
            let why = report.refused.as_ref()?;
            Some(CliError::Failed(format!("the plan of {} cannot happen: {why}", report.name)))
        };
        let refused: Vec<CliError> = reports.iter().filter_map(refused).collect();
        if !refused.is_empty() {
            return Err(CliError::Many(refused));
        }
        Ok(reports.iter().map(Report::exit).max_by_key(|exit| exit.0).unwrap_or(Exit::SUCCESS))
    }

    fn change(&self) -> Result<Change, CliError> {
        let Some(text) = &self.patch else { return Ok(Change::None) };
        let patch: Value = serde_saphyr::from_str(text)
            .map_err(|error| CliError::Flag { flag: "--patch", message: format!("not JSON or YAML: {error}") })?;
        match self.patch_type {
            PatchType::Merge if patch.is_object() => Ok(Change::Merge(patch)),
            PatchType::Merge => Err(CliError::Flag { flag: "--patch", message: "a merge patch is an object".into() }),
            PatchType::Json if self.edits.is_empty() => Ok(Change::Json(patch)),
            PatchType::Json => Err(CliError::Usage("--set goes with a merge patch, not with --type json".into())),
            PatchType::Strategic => Err(CliError::Usage(
                "there are no strategic merge patches of custom resources: use --type merge or json, or --set".into(),
            )),
        }
    }

    fn applying(&self) -> Applying {
        Applying {
            server_side: self.server_side,
            force_conflicts: self.force_conflicts,
            field_manager: self.field_manager.clone(),
        }
    }

    async fn manifests(&self, session: &Session) -> Result<Vec<(Target, Manifest)>, CliError> {
        let descent = if self.recursive { Descent::Recursive } else { Descent::OneFolder };
        let manifests = manifest::read(&self.filename, descent).await?;
        let sets: Vec<Manifest> = manifests.into_iter().filter(|it| is_set(&it.object)).collect();
        if sets.is_empty() {
            return Err(CliError::Failed("there is no AdvancedStatefulSet in the files".into()));
        }
        sets.into_iter().map(|it| Ok((Target::of_manifest(&it, session)?, it))).collect()
    }

    fn print(&self, reports: &[Report]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        let format = match self.output {
            Output::Text => {
                let paint = self.color.paint(&Surroundings::here());
                let texts: Vec<String> = reports.iter().map(|one| text::text(one, paint)).collect();
                out.write_all(texts.join("\n").as_bytes())?;
                return Ok(());
            }
            Output::Json => Format::Json,
            Output::Yaml => Format::Yaml,
        };
        let value = |report: &Report| serde_json::to_value(report).unwrap_or_default();
        let object = match reports {
            [only] => value(only),
            many => json!({
                "apiVersion": report::API_VERSION,
                "kind": "PlanList",
                "items": many.iter().map(value).collect::<Vec<_>>(),
            }),
        };
        out.write_all(formatted(&object, format)?.as_bytes())?;
        Ok(())
    }
}

async fn plan_one(session: &Session, settings: &Settings, proposal: Proposal) -> Result<Report, CliError> {
    let mut look = Look::new(session, settings);
    let mut snapshot = look.snapshot(&proposal.target, &proposal.after).await?;
    let (explained, forecast) = decide(&mut look, &mut snapshot).await?;
    let refused = refusal(&explained);
    let explanation = match explained {
        Explained::Known(explanation) => Some(explanation),
        Explained::Terminating | Explained::Refused(_) | Explained::Ask(_) => None,
    };
    let notes = std::mem::take(&mut look.notes).into_iter().collect();
    let spec = |set: &Value| set.get("spec").cloned().unwrap_or_default();
    let spec_fields = match &proposal.before {
        Some(before) => spec_fields::differences(&spec(before), &spec(&proposal.after)),
        None => Vec::new(),
    };
    Ok(report::report(Found {
        start: &snapshot,
        exists: proposal.before.is_some(),
        explanation: explanation.as_ref(),
        forecast: &forecast,
        refused,
        spec_fields,
        notes,
    }))
}

/// Pods, by UID, that a policy lets nobody update wait until it does.
fn deny(explanation: &mut Explanation, snapshot: &Snapshot, denied: &BTreeMap<Box<str>, Box<str>>) {
    for (name, outlook) in &mut explanation.pods {
        let told = snapshot.pods.get(name).and_then(|pod| denied.get(&pod.uid));
        if let (Some(told), Verdict::InPlace { .. }) = (told, &outlook.verdict) {
            outlook.verdict = Verdict::Waits { why: told.to_string() };
        }
    }
}

/// Why nothing can come of the change, whatever else is done.
fn refusal(explained: &Explained) -> Option<String> {
    match explained {
        Explained::Refused(message) => Some(format!("the manager refuses it: {message}")),
        Explained::Terminating => Some("the set is being deleted: nothing is done for it".into()),
        Explained::Known(explanation) => {
            let message = explanation.invalid_template.as_ref()?;
            Some(format!("the apiserver takes no Pod of this template: {message}"))
        }
        Explained::Ask(_) => None,
    }
}

/// Decides again and again, until the cluster has answered all that there is to ask.
async fn decide(look: &mut Look<'_>, snapshot: &mut Snapshot) -> Result<(Explained, Forecast), CliError> {
    let rounds = ROUNDS_MAX + snapshot.pods.len().div_ceil(PODS_A_ROUND);
    for _ in 0..rounds {
        let mut explained = explain(snapshot);
        match &mut explained {
            Explained::Ask(questions) => {
                look.answer(questions, snapshot).await?;
                continue;
            }
            Explained::Known(explanation) => {
                if look.try_updates(&explanation.updates, snapshot).await? {
                    continue;
                }
                deny(explanation, snapshot, &look.denied);
            }
            Explained::Refused(_) | Explained::Terminating => {}
        }
        match forecast(snapshot, look.denied.keys().cloned().collect()) {
            Forecasted::Ask(questions) => look.answer(&questions, snapshot).await?,
            Forecasted::Known(forecast) => return Ok((explained, *forecast)),
        }
    }
    Err(CliError::Failed(format!("the planner still asks after {rounds} rounds of answers")))
}
