//! `kubectl asts events`: what was said of a set, its Pods, claims and revisions, in order.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{ArgAction, Args};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt, watcher::DefaultBackoff};
use kube::{Api, Client};

use super::Exit;
use super::connect::{ConnectionFlags, Session};
use super::error::CliError;
use super::follow;
use super::output::clean;
use super::phase::{seconds_between, short_span};
use super::seen::RevisionSeen;
use super::target::{self, Target};
use super::terminal::{Colour, Paint, Surroundings, Tone, columns};
use super::truth::Truth;
use crate::api::{AdvancedStatefulSet, names};
use crate::model::helper::is_helper_name;
use crate::model::pod::ordinal_in;
use crate::model::revision::revision_name;

/// Most events in one page.
const PAGE_SIZE: u32 = 500;
/// Columns of a line without its message, where lines are printed one by one.
const WIDTHS: [usize; 4] = [10, 8, 26, 32];

/// Flags of `events`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # What happened to a set, its Pods, claims and revisions, the oldest first
  kubectl asts events web

  # Go on with what happens
  kubectl asts events web -w

  # Only what went wrong
  kubectl asts events web --types=Warning")]
pub struct Events {
    /// The set: NAME, or asts/NAME
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on with what happens
    #[arg(
        short, long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    watch: bool,
    /// Only these types: Normal, Warning
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = known_type)]
    types: Vec<String>,
    /// When to use colours
    #[arg(long, visible_alias = "colour", value_enum, value_name = "WHEN", default_value_t)]
    color: Colour,
}

/// A type as kubectl takes it.
fn known_type(text: &str) -> Result<String, String> {
    let known = ["Normal", "Warning"].iter().any(|known| known.eq_ignore_ascii_case(text));
    if known { Ok(text.to_owned()) } else { Err("valid --types are Normal or Warning".into()) }
}

/// Whose events are told.
#[derive(Clone, Debug)]
struct Circle {
    set: String,
    claim_templates: Vec<String>,
    types: Vec<String>,
}

/// An event as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    at: Option<Timestamp>,
    first_at: Option<Timestamp>,
    count: i32,
    type_: String,
    reason: String,
    object: String,
    message: String,
}

impl Events {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let session = connection.session().await?;
        let target = Target { namespace: session.namespace.clone(), name: target::parse_name(&self.name)? };
        let set = target.api(&session).get(&target.name).await?;
        let revisions = match follow::revisions(&session, &set).await {
            Ok(revisions) => revisions,
            // Without them no more is lost than the events of claims that the set has no more.
            Err(CliError::Api(error)) if matches!(&*error, kube::Error::Api(status) if status.code == 403) => {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let circle = Circle::of(&set, &revisions, self.types.clone());
        let paint = self.color.paint(&Surroundings::here());
        self.tell(&session, &target, &circle, paint).await
    }

    async fn tell(&self, session: &Session, target: &Target, circle: &Circle, paint: Paint) -> Result<Exit, CliError> {
        let api: Api<Event> = Api::namespaced(Client::clone(&session.client), &target.namespace);
        let stream = watcher(api, watcher::Config::default().page_size(PAGE_SIZE));
        let mut stream = Box::pin(stream.backoff(DefaultBackoff::default()));
        let mut before: BTreeMap<String, Told> = BTreeMap::new();
        let mut coming: Vec<(String, Told)> = Vec::new();
        let mut is_first = true;
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::InitApply(event)) => coming.extend(circle.told(event)),
                Ok(watcher::Event::InitDone) => {
                    let mut fresh = std::mem::take(&mut coming);
                    fresh.retain(|(uid, told)| before.get(uid) != Some(told));
                    fresh.sort_by(|one, other| (one.1.at, &one.0).cmp(&(other.1.at, &other.0)));
                    self.print(fresh.iter().map(|(_, told)| told), is_first, target, paint)?;
                    before.extend(fresh);
                    is_first = false;
                    if !self.watch {
                        return Ok(Exit::SUCCESS);
                    }
                }
                Ok(watcher::Event::Apply(event)) => {
                    let fresh = circle.told(event).filter(|(uid, told)| before.get(uid) != Some(told));
                    if let Some((uid, told)) = fresh {
                        print(&[line(&told, Timestamp::now(), WIDTHS, paint)])?;
                        before.insert(uid, told);
                    }
                }
                Ok(watcher::Event::Delete(event)) => {
                    before.remove(event.metadata.uid.as_deref().unwrap_or_default());
                }
                Ok(watcher::Event::Init) => coming.clear(),
                Err(error) => eprintln!("Warning: {}; trying again", clean(&follow::judged(error)?)),
            }
        }
        Ok(Exit::SUCCESS)
    }

    /// Those of a list, in columns that fit them.
    fn print<'a>(
        &self,
        told: impl Iterator<Item = &'a Told> + Clone,
        is_first: bool,
        target: &Target,
        paint: Paint,
    ) -> Result<(), CliError> {
        let now = Timestamp::now();
        if is_first && told.clone().next().is_none() {
            eprintln!("No events found for {} in {} namespace.", target.name, target.namespace);
        }
        let titles = ["LAST SEEN", "TYPE", "REASON", "OBJECT"];
        let mut widths = if self.watch { WIDTHS } else { titles.map(columns) };
        if !self.watch {
            for one in told.clone() {
                let cells = cells(one, now);
                widths = std::array::from_fn(|index| widths[index].max(columns(&cells[index])));
            }
        }
        let mut lines: Vec<String> = told.map(|told| line(told, now, widths, paint)).collect();
        if is_first && !lines.is_empty() {
            lines.insert(0, row(&titles.map(str::to_owned), widths, "MESSAGE"));
        }
        print(&lines)
    }
}

impl Circle {
    fn of(set: &AdvancedStatefulSet, revisions: &[RevisionSeen], types: Vec<String>) -> Circle {
        let claims = set.spec.volume_claim_templates.iter().flatten();
        let mut claim_templates: Vec<String> =
            claims.filter_map(|claim| Some(claim.0.pointer("/metadata/name")?.as_str()?.to_owned())).collect();
        let recorded = revisions.iter().flat_map(|one| one.facts.claim_names().unwrap_or_default());
        claim_templates.extend(recorded.map(String::from));
        Circle { set: set.metadata.name.clone().unwrap_or_default(), claim_templates, types }
    }

    /// The event by its UID, where it is about the set or what is its own.
    fn told(&self, event: Event) -> Option<(String, Told)> {
        let object = &event.involved_object;
        let (kind, name) = (object.kind.as_deref()?, object.name.as_deref()?);
        let is_ours = match kind {
            names::KIND => name == self.set,
            "Pod" => ordinal_in(name, &self.set).is_some() || is_helper_name(name, &self.set),
            "PersistentVolumeClaim" => {
                self.claim_templates.iter().any(|claim| ordinal_in(name, &format!("{claim}-{}", self.set)).is_some())
            }
            "ControllerRevision" => {
                name.rsplit_once('-').is_some_and(|(_, hash)| name == revision_name(&self.set, hash))
            }
            _ => false,
        };
        let type_ = event.type_.clone().unwrap_or_default();
        let is_wanted = self.types.is_empty() || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(&type_));
        (is_ours && is_wanted).then(|| {
            let told = told(&event, format!("{}/{name}", kind.to_lowercase()), type_);
            (event.metadata.uid.clone().unwrap_or_default(), told)
        })
    }
}

fn told(event: &Event, object: String, type_: String) -> Told {
    let series = event.series.as_ref();
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let event_time = event.event_time.as_ref().map(|time| time.0);
    let last = series.and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    Told {
        at: last.or(event.last_timestamp.as_ref().map(|time| time.0)).or(event_time).or(created),
        first_at: event.first_timestamp.as_ref().map(|time| time.0).or(event_time).or(created),
        count: series.and_then(|series| series.count).or(event.count).unwrap_or(1),
        type_,
        reason: event.reason.clone().unwrap_or_default(),
        object,
        message: event.message.clone().unwrap_or_default(),
    }
}

fn cells(told: &Told, now: Timestamp) -> [String; 4] {
    let span = |at: Option<Timestamp>| at.map_or_else(String::new, |at| short_span(seconds_between(at, now)));
    let seen = if told.count > 1 {
        format!("{} (x{} over {})", span(told.at), told.count, span(told.first_at))
    } else {
        span(told.at)
    };
    [seen, clean(&told.type_), clean(&told.reason), clean(&told.object)]
}

fn line(told: &Told, now: Timestamp, widths: [usize; 4], paint: Paint) -> String {
    let line = row(&cells(told, now), widths, clean(&told.message).trim_end());
    if told.type_ == "Warning" { paint.text(Tone::Busy, &line) } else { line }
}

fn row(cells: &[String; 4], widths: [usize; 4], message: &str) -> String {
    let padded =
        |(cell, width): (&String, usize)| format!("{cell}{}", " ".repeat(width.saturating_sub(columns(cell)) + 2));
    cells.iter().zip(widths).map(padded).collect::<String>() + message
}

fn print(lines: &[String]) -> Result<(), CliError> {
    let mut output = std::io::stdout();
    output.write_all(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes())?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::helper::helper_name;

    fn event(kind: &str, name: &str, type_: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"uid": name}, "involvedObject": {"kind": kind, "name": name}, "type": type_, "reason": "R",
            "message": "one\ntwo\u{1b}[2J", "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z",
        }))
        .unwrap()
    }

    fn circle(types: &[&str]) -> Circle {
        Circle {
            set: "web".into(),
            claim_templates: vec!["data".into()],
            types: types.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_is_the_sets_own_is_told() {
        for (kind, name, expected) in [
            ("AdvancedStatefulSet", "web", true),
            ("AdvancedStatefulSet", "web-1", false),
            ("StatefulSet", "web", false),
            ("Pod", "web-12", true),
            ("Pod", "web-x", false),
            ("Pod", "web-other-1", false),
            ("Pod", "web-0123456789-pull", true),
            ("Pod", "web-other-0123456789-pull", false),
            ("Pod", "web-pull", false),
            ("PersistentVolumeClaim", "data-web-3", true),
            ("PersistentVolumeClaim", "log-web-3", false),
            ("ControllerRevision", "web-abcdef", true),
        ] {
            assert_eq!(circle(&[]).told(event(kind, name, "Normal")).is_some(), expected, "{kind} {name}");
        }
        let long = "a".repeat(250);
        let of_long = Circle { set: long.clone(), ..circle(&[]) };
        assert!(of_long.told(event("ControllerRevision", &revision_name(&long, "abcdef"), "Normal")).is_some());
        assert!(of_long.told(event("Pod", &helper_name(&long, "0123456789"), "Warning")).is_some());
        assert!(circle(&["warning"]).told(event("Pod", "web-1", "Normal")).is_none());
        assert!(circle(&["warning"]).told(event("Pod", "web-1", "Warning")).is_some());
    }

    #[test]
    fn only_types_that_there_are_are_taken() {
        assert!(["Normal", "warning", "WARNING"].into_iter().all(|text| known_type(text).is_ok()));
        assert_eq!(known_type("foo"), Err("valid --types are Normal or Warning".into()));
    }

    #[test]
    fn an_event_is_one_line() {
        let (_, told) = circle(&[]).told(event("Pod", "web-1", "Warning")).unwrap();
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        let line = line(&told, now, [0; 4], Paint { on: false });
        assert_eq!(line, "60s (x3 over 2m)  Warning  R  pod/web-1  one two [2J");
    }
}
