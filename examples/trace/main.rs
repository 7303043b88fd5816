//! How many Pods are not re-created over a thousand changes of templates: a made-up, seeded trace, decided by the
//! controller's own `shouldDoInPlaceUpdate` on three clusters. `--write` puts it where docs/inplace.md takes it from.

mod applications;
mod measure;
mod mix;
mod random;

use std::fmt::Write as _;
use std::process::ExitCode;

use measure::{ALL, Counts, InPlace, On, measure};
use mix::{Kind, MIX};

const SEED: u64 = 1;
/// A part of docs/inplace.md.
const PAGE: &str = "docs/inplace-trace.md";

fn main() -> ExitCode {
    let made = section().and_then(|section| {
        if !std::env::args().any(|argument| argument == "--write") {
            print!("{section}");
            return Ok(());
        }
        std::fs::write(PAGE, section).map_err(|error| format!("{PAGE}: {error}"))
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn section() -> Result<String, String> {
    let counts = measure(SEED)?;
    let mut text = String::from(
        "## Over a thousand changes\n\n\
         How many Pod re-creations are avoided, over a **synthetic** trace of 1,000 changes of three made-up applications (a broker, a database with a sidecar\n\
         and an init container that runs once, a cache): the made-up mix below, in an order and on applications that a seed decides. No real upgrades were measured: of\n\
         real ones only the outline is known (images alone about half; images, environment, configuration and probes together over nine tenths). Each change is decided by\n\
         the controller's own function for a running Pod of the template before it, whose images came from a registry; nothing is carried out. In the last column all nodes are\n\
         customised. A StatefulSet re-creates its Pods for every one of these changes. `make trace` makes this part again.\n\n",
    );
    text.push_str("| change | of 1,000 | stock | stock, `env: Annotations` | customised |\n|---|---|---|---|---|\n");
    let mut all = Vec::new();
    for group in MIX {
        let kinds: Vec<Kind> = group.kinds.iter().map(|(kind, _, _)| *kind).collect();
        let share: usize = group.kinds.iter().map(|(_, count, _)| count).sum();
        row(&mut text, &format!("**{}**", group.title), share, &kinds, &counts);
        for (kind, count, words) in group.kinds {
            row(&mut text, &format!("· {words}"), *count, &[*kind], &counts);
        }
        all.extend(kinds);
    }
    row(&mut text, "**Pods kept**", mix::all().len(), &all, &counts);
    let untouched = ALL.map(|on| sum(&all, &counts, on).containers_kept);
    let _ = writeln!(text, "| their containers kept too | | {} | {} | {} |", untouched[0], untouched[1], untouched[2]);
    let percent = ALL.map(|on| percent(sum(&all, &counts, on).pods_kept, mix::all().len()));
    let _ =
        writeln!(text, "| **re-creations avoided** | | **{}** | **{}** | **{}** |", percent[0], percent[1], percent[2]);
    Ok(text)
}

fn row(text: &mut String, title: &str, share: usize, kinds: &[Kind], counts: &Counts) {
    let kept = ALL.map(|on| sum(kinds, counts, on).pods_kept);
    let _ = writeln!(text, "| {title} | {share} | {} | {} | {} |", kept[0], kept[1], kept[2]);
}

fn sum(kinds: &[Kind], counts: &Counts, on: On) -> InPlace {
    let of = |kind: &Kind| counts.get(&(*kind, on)).copied().unwrap_or_default();
    kinds.iter().map(of).fold(InPlace::default(), |sum, one| InPlace {
        pods_kept: sum.pods_kept + one.pods_kept,
        containers_kept: sum.containers_kept + one.containers_kept,
    })
}

/// With one decimal, rounded down.
fn percent(part: usize, whole: usize) -> String {
    let per_mille = part * 1000 / whole.max(1);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_mix_is_a_thousand_changes_as_users_report_them() {
        let share = |titles: &[&str]| -> usize {
            let groups = MIX.iter().filter(|group| titles.contains(&group.title));
            groups.flat_map(|group| group.kinds).map(|(_, count, _)| count).sum()
        };
        assert_eq!(mix::all().len(), 1000);
        assert_eq!(share(&["image"]), 500);
        assert!(share(&["image", "environment", "configuration", "probes and resources"]) > 900);
    }

    #[test]
    fn every_change_changes_its_template() {
        let templates = applications::applications();
        let mut random = random::Random::new(7);
        for (number, kind) in mix::all().into_iter().enumerate() {
            for which in applications::able(kind) {
                let old = &templates[*which];
                assert_ne!(*old, applications::change(old, kind, number + 2, &mut random), "{kind:?}");
            }
        }
    }

    #[test]
    fn what_a_cluster_can_do_only_adds() {
        let counts = measure(SEED).unwrap();
        for kind in mix::all() {
            let [stock, env, customised] = ALL.map(|on| counts[&(kind, on)].pods_kept);
            assert!(stock <= env && stock <= customised, "{kind:?}: {stock} {env} {customised}");
        }
    }

    #[test]
    fn the_page_has_what_make_trace_makes() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        assert_eq!(section().unwrap(), page, "make trace was not run");
    }
}
