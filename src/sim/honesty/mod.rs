//! Does the store answer as a real apiserver does? The same random requests go to both, and each
//! answer, and the object after it, must be the same in all that matters to a controller.
//!
//! `ASTS_HONESTY_KUBECONFIG` names the cluster, in which nothing but etcd and the apiserver may run; `SIM_FIRST` and `SIM_SEEDS` say which scripts,
//! `SIM_SEED=7` plays one alone. What scripts make stays there.

mod model;
mod real;
mod script;
mod view;

use std::path::PathBuf;

use futures::{StreamExt, stream};
use model::Model;
use real::Real;
use script::Ask;
use serde_json::Value;
use view::View;

use super::random::Random;

const SEEDS: u64 = 1000;
const REQUESTS: usize = 25;
/// Two cores are busy with so many.
const SCRIPTS_AT_ONCE: usize = 8;

/// An answer: its code, and where that is no success the server's reason.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    code: u16,
    reason: String,
    /// What matters of the object that a dry run shows.
    tried: Value,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test]
#[ignore = "needs a cluster, which ASTS_HONESTY_KUBECONFIG names"]
async fn the_store_answers_as_a_real_apiserver() {
    let kubeconfig = std::env::var_os("ASTS_HONESTY_KUBECONFIG").map(PathBuf::from).expect("ASTS_HONESTY_KUBECONFIG");
    let real = Real::connect(&kubeconfig).await.expect("a cluster");
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("SIM_FIRST").unwrap_or(1);
            first..first + number("SIM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let (mut requests, mut refused, mut different) = (0, 0, Vec::new());
    let scripts = stream::iter(seeds.clone().map(|seed| play(seed, real.clone())));
    let mut played = scripts.buffer_unordered(SCRIPTS_AT_ONCE);
    while let Some(outcome) = played.next().await {
        match outcome {
            Ok(counted) => {
                requests += counted.0;
                refused += counted.1;
            }
            Err(difference) => different.push(difference),
        }
    }
    println!("seeds {seeds:?}: {requests} requests answered alike, {refused} of them refused");
    let shown: Vec<&str> = different.iter().take(5).map(String::as_str).collect();
    assert!(different.is_empty(), "{} seeds differ, the first of them:\n{}", different.len(), shown.join("\n\n"));
}

/// How many requests were made, and how many of them refused; or what differs, and what came before.
async fn play(seed: u64, mut real: Real) -> Result<(usize, usize), String> {
    let mut random = Random::new(seed);
    let script: Vec<Ask> = script::of(&mut random, REQUESTS);
    let (mut model, mut seen_of_model, mut seen_of_real) = (Model::default(), View::default(), View::default());
    real.prefix = format!("s{seed}-");
    let mut told = Vec::new();
    let mut refused = 0;
    for ask in &script {
        let by_model = model.ask(ask, &seen_of_model);
        let by_real = real.ask(ask, &seen_of_real).await?;
        let then_model = seen_of_model.look(ask, model.get(ask), "");
        let then_real = seen_of_real.look(ask, real.get(ask).await?, &real.prefix);
        told.push((ask, format!("{ask} -> {} {}", by_real.code, by_real.reason)));
        refused += usize::from(by_real.code >= 400);
        let mut differs = view::differences(&then_model, &then_real);
        differs.extend(view::differences(&by_model.tried, &by_real.tried));
        if (by_model.code, &by_model.reason) != (by_real.code, &by_real.reason) || !differs.is_empty() {
            let same_object = |(told, _): &&(&Ask, String)| (told.kind, told.name) == (ask.kind, ask.name);
            let told: Vec<&str> = told.iter().filter(same_object).map(|(_, text)| text.as_str()).collect();
            let Answer { code, reason, .. } = by_model;
            let answers = format!("the store answers {code} {reason}, the apiserver {} {}", by_real.code, real.message);
            return Err(format!("SIM_SEED={seed}\n{}\n{answers}\n{}", told.join("\n"), differs.join("\n")));
        }
    }
    Ok((script.len(), refused))
}
