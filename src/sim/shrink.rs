//! Makes a failing run smaller: fewer steps and faults, a calmer world, a simpler set, as long as
//! the same kind of thing goes wrong; and prints it as a test.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use super::run::Outcome;
use super::script::{Script, Step};
use super::workloads::calm;

/// What plays a script and says what goes wrong: a property that is broken, or a difference from the run's twin.
pub type Play<'a> = dyn Fn(Script) -> Outcome + 'a;

/// Runs that may be spent on one failure.
const RUNS_MAX: usize = 1500;

pub struct Smaller<'a> {
    play: &'a Play<'a>,
    kind: String,
    runs: usize,
    pub script: Script,
    pub violation: String,
}

/// Plays a script; a panic is a broken property as well.
pub fn guarded(play: &Play<'_>, script: Script) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| play(script))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Outcome { violation: Some(format!("it panicked: {text}")), ..Outcome::default() }
    })
}

/// What goes wrong, without the numbers in it.
fn kind_of(violation: &str) -> String {
    let text = violation.split_once(' ').filter(|(first, _)| first.len() == 2).map_or(violation, |(_, rest)| rest);
    let words = text.split_whitespace().filter(|word| !word.contains(|letter: char| letter.is_ascii_digit()));
    if text.starts_with(['S', 'L']) && text.get(1..2).is_some_and(|digit| digit.parse::<u8>().is_ok()) {
        return text.split(':').next().unwrap_or_default().to_owned();
    }
    words.take(3).collect::<Vec<_>>().join(" ")
}

/// `None`: it does not fail.
pub fn shrink<'a>(script: &Script, play: &'a Play<'a>) -> Option<Smaller<'a>> {
    let outcome = guarded(play, script.clone());
    let violation = outcome.violation?;
    let kind = kind_of(&violation);
    let mut smaller = Smaller { play, kind, runs: 1, script: script.clone(), violation };
    // The faults that were drawn, now one by one.
    smaller.offer(Script { faults: Some(outcome.faults), ..script.clone() });
    loop {
        let before = format!("{:?}", smaller.script);
        smaller.fewer_faults();
        smaller.fewer_steps();
        smaller.calmer();
        smaller.simpler_set();
        if smaller.runs >= RUNS_MAX || before == format!("{:?}", smaller.script) {
            return Some(smaller);
        }
    }
}

impl Smaller<'_> {
    /// Takes a script that still fails in the same way.
    fn offer(&mut self, script: Script) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let violation = guarded(self.play, script.clone()).violation;
        let Some(violation) = violation.filter(|violation| kind_of(violation) == self.kind) else { return false };
        self.script = script;
        self.violation = violation;
        true
    }

    /// Leaves out ever smaller parts of a list (delta debugging).
    fn fewer<T: Clone>(&mut self, of: impl Fn(&Script) -> Vec<T>, with: impl Fn(&Script, Vec<T>) -> Script) {
        let mut chunk = of(&self.script).len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < of(&self.script).len() {
                let mut rest = of(&self.script);
                let end = (from + chunk).min(rest.len());
                rest.drain(from..end);
                if !self.offer(with(&self.script, rest)) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn fewer_faults(&mut self) {
        if self.script.faults.is_some() {
            self.fewer(
                |script| script.faults.clone().unwrap_or_default(),
                |script, faults| Script { faults: Some(faults), ..script.clone() },
            );
        }
        self.fewer(|script| script.behind.clone(), |script, behind| Script { behind, ..script.clone() });
    }

    fn fewer_steps(&mut self) {
        self.fewer(
            |script| script.steps.iter().skip(1).cloned().collect(),
            |script, rest| {
                let steps = script.steps.iter().take(1).cloned().chain(rest).collect();
                Script { steps, ..script.clone() }
            },
        );
        let last = self.script.steps.last().map_or(0, |(at, _)| *at);
        self.offer(Script { peace_ms: last + 10, ..self.script.clone() });
    }

    fn calmer(&mut self) {
        let mut quiet = calm(self.script.swarm.controllers, self.script.swarm.request_ms);
        self.offer(Script { swarm: quiet.clone(), ..self.script.clone() });
        quiet.controllers = 1;
        let one = |script: &Script| {
            let mut swarm = script.swarm.clone();
            swarm.controllers = 1;
            Script { swarm, ..script.clone() }
        };
        self.offer(one(&self.script.clone()));
        for index in 0..9 {
            let mut swarm = self.script.swarm.clone();
            match index {
                0 => swarm.watch_lag_ms = quiet.watch_lag_ms,
                1 => swarm.kubelet_lag_ms = quiet.kubelet_lag_ms,
                2 => swarm.status_lag_ms = quiet.status_lag_ms,
                3 => swarm.request_ms = 5,
                4 => swarm.collector_lag_ms = quiet.collector_lag_ms,
                5 => swarm.restart_ms = quiet.restart_ms,
                6 => swarm.clocks_ms = quiet.clocks_ms,
                7 => swarm.lease = false,
                _ => swarm.crowd = false,
            }
            if swarm != self.script.swarm {
                self.offer(Script { swarm, ..self.script.clone() });
            }
        }
    }

    fn simpler_set(&mut self) {
        let needed = ["replicas", "selector", "template", "updateStrategy", "podManagementPolicy"];
        for key in keys(&self.script.set).into_iter().filter(|key| !needed.contains(&key.as_str())) {
            let mut set = self.script.set.clone();
            drop(set.as_object_mut().map(|fields| fields.remove(&key)));
            self.offer(Script { set, ..self.script.clone() });
        }
        for key in keys(&self.script.set["updateStrategy"]["rollingUpdate"]) {
            let mut set = self.script.set.clone();
            drop(set["updateStrategy"]["rollingUpdate"].as_object_mut().map(|fields| fields.remove(&key)));
            self.offer(Script { set, ..self.script.clone() });
        }
        for replicas in 1..self.script.set["replicas"].as_i64().unwrap_or(1) {
            let mut set = self.script.set.clone();
            set["replicas"] = replicas.into();
            if self.offer(Script { set, ..self.script.clone() }) {
                break;
            }
        }
    }

    /// As a test of `regressions.rs`; `call`: what checks the script there, as far as the script.
    pub fn as_test(&self, call: &str) -> String {
        let Script { seed, swarm, set, steps, peace_ms, faults, behind, customised } = &self.script;
        let steps: Vec<String> =
            steps.iter().map(|(at, step)| format!("        ({at}, {}),\n", step_text(step))).collect();
        format!(
            "/// {}\n#[test]\nfn name_me() {{\n    {call}, Script {{\n        seed: {seed},\n        swarm: {swarm:?},\n        \
             set: json!({set}),\n        steps: vec![\n{}        ],\n        peace_ms: {peace_ms},\n        \
             faults: {},\n        behind: vec!{},\n        customised: {customised},\n    }});\n}}\n",
            self.violation,
            steps.concat(),
            faults.as_ref().map_or("None".to_owned(), |faults| format!("Some(vec!{faults:?})")),
            with_kinds(&format!("{behind:?}")),
        )
    }
}

fn keys(value: &Value) -> Vec<String> {
    value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Spec(patch) => format!("Step::Spec(json!({patch}))"),
        other => with_kinds(&format!("Step::{other:?}")),
    }
}

/// Kinds as the tests call them.
fn with_kinds(text: &str) -> String {
    text.replace("kind: ", "kind: Kind::")
}
