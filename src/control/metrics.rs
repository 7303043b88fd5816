//! Counters and gauges. No label holds the name of a Pod, a set or a namespace.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// One call to the apiserver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    pub verb: &'static str,
    pub kind: &'static str,
    /// `ok` or a category of [`super::error::Failure`].
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    pub kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    pub result: &'static str,
}

/// All that the manager counts.
pub struct Metrics {
    registry: Registry,
    pub reconciles: Family<ResultLabel, Counter>,
    pub reconcile_seconds: Histogram,
    pub plan_seconds: Histogram,
    pub calls: Family<CallLabels, Counter>,
    pub conflicts: Family<KindLabel, Counter>,
    pub queue_depth: Gauge,
    pub cached: Family<KindLabel, Gauge>,
    pub watch_restarts: Family<KindLabel, Counter>,
    pub live_resolutions: Counter,
    pub events_dropped: Counter,
    pub leader: Gauge,
    resident_bytes: Gauge,
    cpu_seconds: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.5, 12));
        let metrics = Metrics {
            registry: Registry::with_prefix("asts"),
            reconciles: Family::default(),
            reconcile_seconds: seconds(),
            plan_seconds: seconds(),
            calls: Family::default(),
            conflicts: Family::default(),
            queue_depth: Gauge::default(),
            cached: Family::default(),
            watch_restarts: Family::default(),
            live_resolutions: Counter::default(),
            events_dropped: Counter::default(),
            leader: Gauge::default(),
            resident_bytes: Gauge::default(),
            cpu_seconds: Gauge::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("reconciles", "Looks at a set, by how they ended", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a look at a set, its writes included",
            Unit::Seconds,
            self.reconcile_seconds.clone(),
        );
        registry.register_with_unit("plan_duration", "Time to plan", Unit::Seconds, self.plan_seconds.clone());
        registry.register("calls", "Calls to the apiserver, watches apart", self.calls.clone());
        registry.register("conflicts", "Writes whose precondition did not hold", self.conflicts.clone());
        registry.register("queue_depth", "Sets that wait to be looked at", self.queue_depth.clone());
        registry.register("cached_objects", "Objects in the caches", self.cached.clone());
        registry.register("watch_restarts", "Watches that failed and began again", self.watch_restarts.clone());
        registry.register(
            "live_resolutions",
            "Writes whose effect was asked for because no watch showed it in time",
            self.live_resolutions.clone(),
        );
        registry.register("events_dropped", "Events that were not published", self.events_dropped.clone());
        registry.register("leader", "1 while this manager may write", self.leader.clone());
        let process = registry.sub_registry_with_prefix("process");
        process.register_with_unit("resident_memory", "Memory in RAM", Unit::Bytes, self.resident_bytes.clone());
        process.register_with_unit("cpu", "CPU time used", Unit::Seconds, self.cpu_seconds.clone());
        self
    }

    /// Counts one call.
    pub fn count_call(&self, verb: &'static str, kind: &'static str, result: &'static str) {
        self.calls.get_or_create(&CallLabels { verb, kind, result }).inc();
        if result == "conflict" {
            self.conflicts.get_or_create(&KindLabel { kind }).inc();
        }
    }

    /// Counts one look at a set.
    pub fn count_reconcile(&self, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// The text that `/metrics` gives.
    pub fn render(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(bytes);
        }
        if let Some(seconds) = cpu_seconds() {
            self.cpu_seconds.set(seconds);
        }
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

/// `VmRSS` of this process; `None` where there is no procfs.
pub fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()? * 1024)
}

/// User and system time of this process. Linux counts them in hundredths of a second here.
fn cpu_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name, in parentheses, may hold blanks; `utime` and `stime` are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.count_call("patch", "Pod", "conflict");
        metrics.count_reconcile("done", Duration::from_millis(3));
        metrics.leader.set(1);
        let text = metrics.render();
        for line in [
            "asts_calls_total{verb=\"patch\",kind=\"Pod\",result=\"conflict\"} 1",
            "asts_conflicts_total{kind=\"Pod\"} 1",
            "asts_reconciles_total{result=\"done\"} 1",
            "asts_reconcile_duration_seconds_count 1",
            "asts_leader 1",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }

    /// The names that start with `asts_` in a text.
    fn names_in(text: &str) -> BTreeSet<&str> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.starts_with("asts_")).collect()
    }

    /// As [`Metrics::render`] gives them, of a histogram the three that it has.
    fn names_that_exist() -> BTreeSet<String> {
        let metrics = Metrics::default();
        metrics.count_call("patch", "Pod", "conflict");
        metrics.count_reconcile("done", Duration::from_millis(3));
        metrics.cached.get_or_create(&KindLabel { kind: "Pod" }).set(1);
        metrics.watch_restarts.get_or_create(&KindLabel { kind: "Pod" }).inc();
        let text = metrics.render();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
    }

    #[test]
    fn alerts_ask_for_metrics_that_exist() {
        let exist = names_that_exist();
        let rules = include_str!("../../config/monitoring/rules.yaml");
        let asked: Vec<&str> = names_in(rules).into_iter().collect();
        assert!(asked.len() >= 3, "{asked:?}");
        for name in asked {
            assert!(exist.contains(name), "{name} is not among {exist:?}");
        }
    }

    #[test]
    fn the_table_of_metrics_is_whole() {
        let page = include_str!("../../docs/operations.md");
        let told: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `asts_")?.split_once('`'))
            .map(|(name, _)| name)
            .collect();
        let exist = names_that_exist();
        let has: BTreeSet<&str> = exist
            .iter()
            .map(|name| name.trim_start_matches("asts_"))
            .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name))
            .collect();
        assert_eq!(told, has);
    }
}
