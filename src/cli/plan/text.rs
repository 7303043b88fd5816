//! A plan as people read it, in 80 columns.

use serde_json::Value;

use super::report::{FieldReport, MoveReport, PodAction, PodReport, Report, RevisionState, WaveReport};
use crate::cli::output::clean;
use crate::cli::terminal::{Paint, Tone};

const WIDTH: usize = 80;
/// Waves that are shown; of more, the first ones and the last.
const WAVES_SHOWN: usize = 12;
/// Longest value that is shown.
const VALUE_LETTERS_MAX: usize = 60;

/// The text that is being written.
struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn heading(&mut self, text: &str) {
        let text = self.paint.text(Tone::Strong, text);
        self.text.push('\n');
        self.line(&text);
    }

    /// Words in lines, each begun with so many blanks.
    fn words(&mut self, indent: usize, tone: Tone, words: &str) {
        for line in wrapped(&clean(words), WIDTH - indent) {
            let line = self.paint.text(tone, &line);
            self.line(&format!("{:indent$}{line}", ""));
        }
    }
}

/// The whole text.
pub fn text(report: &Report, paint: Paint) -> String {
    let mut page = Page { text: String::new(), paint };
    let summary = page.paint.text(Tone::Strong, &summary(report));
    page.line(&summary);
    revision(&mut page, report);
    fields(&mut page, report);
    spec_fields(&mut page, report);
    waves(&mut page, report);
    held(&mut page, report);
    claims(&mut page, report);
    blocked(&mut page, report);
    notes(&mut page, report);
    page.text
}

/// `web: 5 Pods: 5 updated in place, 0 re-created, 5 waves`.
fn summary(report: &Report) -> String {
    let counts = &report.summary;
    let pods = counted(counts.replicas, "Pod");
    let name = &report.name;
    if counts.exit_code == 0 {
        return format!("{name}: {pods}: nothing would change");
    }
    let mut parts = Vec::new();
    if report.exists {
        parts.push(format!("{} updated in place", counts.in_place));
        parts.push(format!("{} re-created", counts.recreated));
    }
    for (count, what) in [(counts.created, "made"), (counts.removed, "removed"), (counts.held, "held back")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if counts.waves > 0 {
        parts.push(counted(counts.waves, "wave"));
    }
    let new = if report.exists { "" } else { " (the set is not there yet)" };
    format!("{name}: {pods}: {}{new}", parts.join(", "))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn revision(page: &mut Page, report: &Report) {
    let Some(revision) = &report.revision else { return };
    let what = match revision.state {
        RevisionState::Unchanged => return,
        RevisionState::New => "new".to_owned(),
        RevisionState::Reused => "reused".to_owned(),
    };
    let from = revision.current.as_ref().map(|name| format!(", in place of {name}")).unwrap_or_default();
    page.words(0, Tone::Plain, &format!("Revision {} ({what}){from}", revision.name));
}

fn fields(page: &mut Page, report: &Report) {
    let many = report.fields.iter().any(|field| field.pods != report.fields[0].pods);
    let mut last: Option<&FieldReport> = None;
    for field in &report.fields {
        let same_pods = last.is_some_and(|last| last.pods == field.pods && last.from_revision == field.from_revision);
        if last.is_none() {
            page.heading("Fields of the template");
        }
        if many && !same_pods {
            let from = field.from_revision.as_deref().unwrap_or("no revision that is known");
            page.words(2, Tone::Plain, &format!("{}, on {from}:", names(&field.pods)));
        }
        one_field(page, field);
        last = Some(field);
    }
}

fn one_field(page: &mut Page, field: &FieldReport) {
    const MARKS_WIDTH: usize = "Dynamic  re-created".len();
    let (verdict, tone) = if field.in_place { ("in place", Tone::Good) } else { ("re-created", Tone::Busy) };
    let marks = format!("{:<8} {}", field.class, page.paint.text(tone, verdict));
    let path = clean(&field.path);
    let room = WIDTH - MARKS_WIDTH - 4;
    if path.chars().count() <= room {
        page.line(&format!("  {path:<room$}  {marks}"));
    } else {
        page.words(2, Tone::Plain, &path);
        page.line(&format!("    {marks}"));
    }
    page.words(4, Tone::Plain, &change(field.old.as_ref(), field.new.as_ref()));
    page.words(4, Tone::Faint, &field.why);
}

/// `old -> new`; `+ new` and `- old` for what comes and goes.
fn change(old: Option<&Value>, new: Option<&Value>) -> String {
    let there = |value: Option<&Value>| value.filter(|value| !value.is_null()).map(shown);
    match (there(old), there(new)) {
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (None, Some(new)) => format!("+ {new}"),
        (Some(old), None) => format!("- {old}"),
        (None, None) => String::new(),
    }
}

fn shown(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), |text| if text.is_empty() { "\"\"".into() } else { clean(text) });
    if text.chars().count() <= VALUE_LETTERS_MAX {
        return text;
    }
    format!("{}…", text.chars().take(VALUE_LETTERS_MAX - 1).collect::<String>())
}

fn spec_fields(page: &mut Page, report: &Report) {
    if report.spec_fields.is_empty() {
        return;
    }
    page.heading("Fields of the set");
    for field in &report.spec_fields {
        page.words(2, Tone::Plain, &format!("{}: {}", field.path, change(Some(&field.old), Some(&field.new))));
    }
}

fn waves(page: &mut Page, report: &Report) {
    let Some(last) = report.waves.last() else { return };
    page.heading("Waves");
    let digits = last.number.to_string().len();
    let mut told = String::new();
    for wave in &report.waves {
        let is_shown = report.waves.len() <= WAVES_SHOWN || wave.number < WAVES_SHOWN - 1 || wave.number == last.number;
        if is_shown {
            one_wave(page, report, wave, digits, &mut told);
        } else if wave.number == WAVES_SHOWN - 1 {
            let left = report.waves.len() - WAVES_SHOWN + 1;
            page.line(&format!("  {:digits$}  … {} more", "", counted(left, "wave")));
        }
    }
}

/// A line for each kind of what is done. A reason that was told before is not told again.
fn one_wave(page: &mut Page, report: &Report, wave: &WaveReport, digits: usize, told: &mut String) {
    let mut number = wave.number.to_string();
    let mut left: Vec<&MoveReport> = wave.pods.iter().collect();
    while let Some(first) = left.first().copied() {
        let (same, others): (Vec<&MoveReport>, Vec<&MoveReport>) =
            left.into_iter().partition(|one| is_like(one, first));
        left = others;
        let names: Vec<&str> = same.iter().map(|one| one.name.as_str()).collect();
        let (what, tone) = done(first.action);
        let lines = wrapped(&names.join(" "), WIDTH - digits - 18);
        for (index, line) in lines.iter().enumerate() {
            let what = if index == 0 { what } else { "" };
            let what = page.paint.text(tone, &format!("{what:<12}"));
            page.line(&format!("  {number:>digits$}  {what}  {line}"));
            number.clear();
        }
        let why = reason(report, first);
        if !why.is_empty() && *told != why {
            page.words(digits + 18, Tone::Faint, &why);
            *told = why;
        }
    }
}

/// What is told of a move beside its kind. The fields are told above, and why a Pod is made says its name once more.
fn reason(report: &Report, one: &MoveReport) -> String {
    let pod = report.pods.iter().find(|pod| pod.name == one.name);
    let containers = pod.map(|pod| pod.containers.join(", ")).unwrap_or_default();
    match one.action {
        PodAction::Create => String::new(),
        PodAction::InPlace if !containers.is_empty() => format!("new containers: {containers}"),
        _ => one.why.clone(),
    }
}

fn is_like(one: &MoveReport, other: &MoveReport) -> bool {
    one.action == other.action && (one.why == other.why || one.action == PodAction::Create)
}

fn done(action: PodAction) -> (&'static str, Tone) {
    match action {
        PodAction::InPlace => ("in place", Tone::Good),
        PodAction::Recreate => ("re-created", Tone::Busy),
        PodAction::Create => ("made", Tone::Good),
        PodAction::Remove => ("removed", Tone::Bad),
        PodAction::Adopt => ("adopted", Tone::Good),
        PodAction::Release => ("released", Tone::Busy),
        PodAction::GrowClaims => ("claims grow", Tone::Good),
        PodAction::Prepare => ("begun", Tone::Busy),
        PodAction::None => ("unchanged", Tone::Faint),
    }
}

fn held(page: &mut Page, report: &Report) {
    let mut left: Vec<&PodReport> = report.pods.iter().filter(|pod| pod.held_by.is_some()).collect();
    if !left.is_empty() {
        page.heading("Held back");
    }
    while let Some(first) = left.first().copied() {
        let like = |pod: &PodReport| (pod.held_by, pod.would, pod.why.clone());
        let (same, others): (Vec<&PodReport>, Vec<&PodReport>) =
            left.into_iter().partition(|pod| like(pod) == like(first));
        left = others;
        let names: Vec<&str> = same.iter().map(|pod| pod.name.as_str()).collect();
        let (by, later) = match first.held_by.unwrap_or_default() {
            "paused" => ("by the pause", "when resumed"),
            "partition" => ("by the partition", "when it lets them go"),
            "onDelete" => ("by OnDelete", "when deleted by hand"),
            "inPlaceOnly" => ("by InPlaceOnly", ""),
            "denied" => ("by a policy of the cluster", ""),
            _ => ("they wait for others", "after that"),
        };
        let would = first.would.map(|would| format!("; {later}: {}", done(would).0)).unwrap_or_default();
        page.words(2, Tone::Plain, &format!("{}: {by}{would}", first_ones(&names)));
        if let Some(why) = &first.why {
            page.words(4, Tone::Faint, why);
        }
    }
}

fn claims(page: &mut Page, report: &Report) {
    if report.claims.is_empty() {
        return;
    }
    page.heading("Claims");
    let made: Vec<&str> =
        report.claims.iter().filter(|claim| claim.action == "create").map(|claim| claim.name.as_str()).collect();
    if !made.is_empty() {
        page.words(2, Tone::Plain, &format!("made: {}", first_ones(&made)));
    }
    for claim in report.claims.iter().filter(|claim| claim.action == "grow") {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), size);
        page.words(
            2,
            Tone::Plain,
            &format!("grown: {}: {} -> {}", claim.name, size(claim.from_bytes), size(claim.to_bytes)),
        );
    }
}

fn first_ones(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(" "))
}

/// As a quantity: `1Gi`.
fn size(bytes: u64) -> String {
    let mut left = bytes;
    for suffix in ["", "Ki", "Mi", "Gi", "Ti", "Pi"] {
        if left == 0 || !left.is_multiple_of(1024) {
            return format!("{left}{suffix}");
        }
        left /= 1024;
    }
    format!("{left}Ei")
}

fn blocked(page: &mut Page, report: &Report) {
    if report.blocked.is_empty() {
        return;
    }
    page.heading("What stands in the way");
    for one in &report.blocked {
        page.words(2, Tone::Busy, &format!("{}: {}", one.reason, one.message));
    }
}

fn notes(page: &mut Page, report: &Report) {
    if report.notes.is_empty() {
        return;
    }
    page.heading("Notes");
    for note in &report.notes {
        page.words(2, Tone::Faint, note);
    }
}

fn names(pods: &[String]) -> String {
    first_ones(&pods.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Lines of at most this width, broken between words. A longer word has a line of its own, and is cut.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in words.split_whitespace() {
        let mut letters: Vec<char> = word.chars().collect();
        let fits = line.chars().count() + 1 + letters.len() <= width;
        if !line.is_empty() && !fits {
            lines.push(std::mem::take(&mut line));
        }
        while line.is_empty() && letters.len() > width {
            let rest = letters.split_off(width);
            lines.push(letters.into_iter().collect());
            letters = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(letters);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
