//! `kubectl asts diff`: the difference of the Pod templates of two revisions, line by line.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use similar::TextDiff;

use super::Exit;
use super::connect::ConnectionFlags;
use super::error::CliError;
use super::follow;
use super::output::clean;
use super::rollout::choose_previous;
use super::seen::RevisionSeen;
use super::target::{self, Target};
use super::terminal::{Colour, Paint, Surroundings, Tone};
use crate::api::AdvancedStatefulSet;

/// Lines that are shown around a change.
const CONTEXT_LINES: usize = 3;

/// Flags of `diff`.
#[derive(Args, Debug)]
#[command(after_help = "\
Ends with 0 also where there is a difference. What a change does to Pods is said by: kubectl asts plan.

Examples:
  # What changed since the revision before
  kubectl asts diff web

  # Between two revisions
  kubectl asts diff web --revision 2..5

  # Between a revision and the present template
  kubectl asts diff web --revision 2")]
pub struct Diff {
    /// The set: NAME, or asts/NAME
    #[arg(value_name = "NAME")]
    name: String,
    /// Two revisions, as A..B, or one, against the present template; else the one before
    #[arg(long, value_name = "A..B", value_parser = Range::parse)]
    revision: Option<Range>,
    /// When to use colours
    #[arg(long, visible_alias = "colour", value_enum, value_name = "WHEN", default_value_t)]
    color: Colour,
}

/// From which revision to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: i64,
    /// `None`: the present template.
    to: Option<i64>,
}

impl Range {
    fn parse(text: &str) -> Result<Range, String> {
        let number = |text: &str| match text.parse::<i64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{text:?} is no revision: write it as 2..5, or 2 to compare with the present template")),
        };
        match text.split_once("..") {
            None => Ok(Range { from: number(text)?, to: None }),
            Some((from, "")) => Ok(Range { from: number(from)?, to: None }),
            Some((from, to)) => Ok(Range { from: number(from)?, to: Some(number(to)?) }),
        }
    }
}

/// One side: what it is called, and its text.
struct Side {
    title: String,
    text: String,
}

impl Diff {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let session = connection.session().await?;
        let target = Target { namespace: session.namespace.clone(), name: target::parse_name(&self.name)? };
        let set = target.api(&session).get(&target.name).await?;
        let revisions = follow::revisions(&session, &set).await?;
        let (old, new) = self.sides(&set, &revisions)?;
        if old.text == new.text {
            eprintln!("{} and {} have the same template", old.title, new.title);
            return Ok(Exit::SUCCESS);
        }
        let paint = self.color.paint(&Surroundings::here());
        std::io::stdout().write_all(unified(&old, &new, paint).as_bytes())?;
        Ok(Exit::SUCCESS)
    }

    fn sides(&self, set: &AdvancedStatefulSet, revisions: &[RevisionSeen]) -> Result<(Side, Side), CliError> {
        let find = |number: i64| {
            let found = revisions.iter().find(|one| one.facts.number == number);
            found.ok_or_else(|| CliError::Failed(format!("unable to find specified revision {number} in history")))
        };
        let old = match self.revision {
            Some(range) => find(range.from)?,
            None => choose_previous(set, revisions)?,
        };
        let new = match self.revision.and_then(|range| range.to) {
            Some(number) => of_revision(find(number)?)?,
            None => of_set(set)?,
        };
        Ok((of_revision(old)?, new))
    }
}

fn of_revision(revision: &RevisionSeen) -> Result<Side, CliError> {
    let names = revision.facts.claim_names().unwrap_or_default();
    let title = format!("revision {} ({})", revision.facts.number, revision.facts.name);
    Ok(Side { title, text: text(revision.facts.template(), names.iter().map(|name| &**name))? })
}

fn of_set(set: &AdvancedStatefulSet) -> Result<Side, CliError> {
    let claims = set.spec.volume_claim_templates.iter().flatten();
    let names = claims.filter_map(|claim| claim.0.pointer("/metadata/name")?.as_str());
    Ok(Side { title: "the present template".into(), text: text(set.spec.template.0.clone(), names)? })
}

/// What a revision is made of, with the keys in order.
fn text<'a>(template: Value, claim_names: impl Iterator<Item = &'a str>) -> Result<String, CliError> {
    let mut names: Vec<&str> = claim_names.collect();
    names.sort_unstable();
    let mut whole = json!({"template": crate::model::canonical::without_nulls(&template)});
    if !names.is_empty() {
        whole["volumeClaimTemplates"] = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    }
    serde_saphyr::to_string(&whole).map_err(|error| CliError::Failed(format!("cannot print the template: {error}")))
}

fn unified(old: &Side, new: &Side, paint: Paint) -> String {
    let difference = TextDiff::from_lines(&old.text, &new.text);
    let text = difference.unified_diff().context_radius(CONTEXT_LINES).header(&old.title, &new.title).to_string();
    let line = |line: &str| {
        let tone = match line.as_bytes().first() {
            _ if line.starts_with("---") || line.starts_with("+++") => Tone::Strong,
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Faint,
            _ => Tone::Plain,
        };
        paint.text(tone, &clean(line)) + "\n"
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_two_numbers_or_one() {
        assert_eq!(Range::parse("2..5"), Ok(Range { from: 2, to: Some(5) }));
        assert_eq!(Range::parse("2"), Ok(Range { from: 2, to: None }));
        assert_eq!(Range::parse("2.."), Ok(Range { from: 2, to: None }));
        for wrong in ["", "..", "..2", "0", "-1", "a..b", "1..2..3", "1...2", "99999999999999999999"] {
            assert!(Range::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn changed_lines_are_shown_with_those_around_them() {
        let side = |title: &str, image: &str| {
            let template = json!({"spec": {"containers": [{"image": image, "name": "app"}]}});
            Side { title: title.into(), text: text(template, ["data"].into_iter()).unwrap() }
        };
        let shown = unified(&side("one", "v1"), &side("two", "v2"), Paint { on: false });
        assert!(shown.starts_with("--- one\n+++ two\n@@ "), "{shown}");
        assert!(shown.contains("\n-") && shown.contains("image: v1\n") && shown.contains("image: v2\n"), "{shown}");
        let painted = unified(&side("one", "v1"), &side("two", "v2"), Paint { on: true });
        assert!(painted.contains("\x1b[32m+"), "{painted}");
    }
}
