//! What was measured, as the page `docs/benchmarks.md`.

use jiff::Zoned;

use crate::machine::Machine;
use crate::measure::{Measure, Phase, Table};
use crate::once::Once;
use crate::settings::{Contender, NODE_CONTENDERS, NODE_SHAPES, Settings, Shape};
use crate::targets::{self, count, pod_writes, ratio};

const HOW: &str = include_str!("how.md");
const NODE: &str = include_str!("node.md");

pub fn markdown(settings: &Settings, machine: &Machine, table: &Table, on_node: Option<&Table>, once: &Once) -> String {
    let mut text = format!(
        "# Benchmarks\n\nWritten by `make bench` on {}, version {}, on a machine with {} cores and {:.0} GiB of memory, \
         whose load was {:.1} before the start. {}\n\n{HOW}\n",
        Zoned::now().date(),
        env!("CARGO_PKG_VERSION"),
        machine.cores,
        machine.memory_gib,
        machine.load,
        match settings.rounds {
            1 => "Each figure comes from one run.".to_owned(),
            rounds => format!("Each figure comes from the run with the median time of {rounds}."),
        }
    );
    text.push_str(&target_table(table, once));
    for shape in &settings.shapes {
        text.push_str(&shape_table(table, *shape, &settings.contenders));
    }
    text.push_str(&node_tables(on_node));
    text.push_str(&once_list(once));
    let failures = table.failures();
    if !failures.is_empty() {
        text.push_str("\n## Not measured\n\n");
        text.extend(failures.iter().map(|failure| format!("- {failure}\n")));
    }
    text
}

fn target_table(table: &Table, once: &Once) -> String {
    let mut text = "\n## Targets\n\n| target | measured | reached |\n|---|---|---|\n".to_owned();
    for target in targets::all(table, once) {
        let reached = match target.reached {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        text.push_str(&format!("| {} | {} | {reached} |\n", target.what, target.measured));
    }
    text
}

fn shape_table(table: &Table, shape: Shape, contenders: &[Contender]) -> String {
    let mut text = format!(
        "\n## {}\n\n| phase | who | seconds | to bare client | to native | writes a Pod | of them to Pods | conflicts \
         | events a Pod | CPU s | peak MiB | cluster's CPU s |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        shape.title()
    );
    for phase in Phase::ALL {
        for contender in contenders {
            let Some(measure) = table.median(shape, phase, *contender) else {
                text.push_str(&format!("| {} | {} | – | | | | | | | | |\n", phase.title(), contender.title()));
                continue;
            };
            let of = |other| times(ratio(Some(measure), table.median(shape, phase, other)));
            text.push_str(&row(shape, phase, *contender, measure, &[of(Contender::Floor), of(Contender::Native)]));
        }
    }
    text
}

/// What a user waits for: here a container takes its time to end and to start.
fn node_tables(table: Option<&Table>) -> String {
    let mut text = format!("\n## On a real node\n\n{NODE}");
    let Some(table) = table else {
        text.push_str("\nNot measured (`BENCH_NODE=1` does, as root).\n");
        return text;
    };
    for shape in NODE_SHAPES {
        text.push_str(&format!(
            "\n### {}\n\n| phase | who | seconds | to native | out of service, seconds a Pod | writes a Pod | cluster's \
             CPU s |\n|---|---|--:|--:|--:|--:|--:|\n",
            shape.title()
        ));
        for phase in [Phase::Create, Phase::Update] {
            for contender in NODE_CONTENDERS {
                let Some(measure) = table.median(shape, phase, contender) else { continue };
                let pods = count(shape.pods());
                let out_of_service = match phase {
                    Phase::Update => format!("{:.2}", measure.out_of_service_seconds / pods),
                    _ => String::new(),
                };
                text.push_str(&format!(
                    "| {} | {} | {:.2} | {} | {out_of_service} | {:.2} | {:.1} |\n",
                    phase.title(),
                    contender.title(),
                    measure.seconds,
                    times(ratio(Some(measure), table.median(shape, phase, Contender::Native))),
                    count(measure.writes.count) / pods,
                    measure.cluster_cpu_seconds,
                ));
            }
        }
    }
    text
}

fn row(shape: Shape, phase: Phase, contender: Contender, measure: &Measure, ratios: &[String; 2]) -> String {
    let pods = count(shape.pods());
    let writes = &measure.writes;
    let (cpu, peak) = measure.process.map_or(("".to_owned(), "".to_owned()), |used| {
        (format!("{:.2}", used.cpu_seconds), format!("{:.0}", used.peak_mib))
    });
    format!(
        "| {} | {} | {:.2} | {} | {} | {:.2} | {:.2} | {} | {:.2} | {cpu} | {peak} | {:.1} |\n",
        phase.title(),
        contender.title(),
        measure.seconds,
        ratios[0],
        ratios[1],
        count(writes.count) / pods,
        pod_writes(measure) / pods,
        writes.conflicts,
        count(writes.events) / pods,
        measure.cluster_cpu_seconds,
    )
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn once_list(once: &Once) -> String {
    let figure = |value: &crate::harness::Result<f64>, unit: &str| match value {
        Ok(value) => format!("{value:.2} {unit}"),
        Err(failure) => format!("not measured: {failure}"),
    };
    let many = match &once.many {
        None => "not measured (`BENCH_FULL=1` does)".to_owned(),
        Some(Err(failure)) => format!("not measured: {failure}"),
        Some(Ok(memory)) => format!(
            "{:.0} MiB at rest, {:.0} MiB at most while they were made, {:.0} MiB at most after a restart among them; \
             {:.0} MiB with none",
            memory.after_mib, memory.peak_mib, memory.restarted_peak_mib, memory.idle_mib
        ),
    };
    format!(
        "\n## The program\n\n- size, stripped: {}\n- from its start to its first write (the median of three; leases and \
         dry runs do not count): {}\n- memory with 10,000 Pods in 10 sets: {many}\n",
        figure(&once.binary_mib, "MiB"),
        figure(&once.first_write_seconds, "s"),
    )
}
