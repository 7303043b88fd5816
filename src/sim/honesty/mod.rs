//! Does the store answer as a real apiserver does? The same random requests go to both, and each
//! answer, and the object after it, must be the same in all that matters to a controller.
//!
//! `ASTS_HONESTY_KUBECONFIG` names the cluster, in which nothing but etcd and the apiserver may run; `SIM_FIRST` and `SIM_SEEDS` say which scripts,
//! `SIM_SEED=7` plays one alone.

mod model;
mod real;
mod script;
mod view;

use std::path::PathBuf;

use model::Model;
use real::Real;
use script::Ask;
use view::View;

use super::random::Random;

const SEEDS: u64 = 150;
const REQUESTS: usize = 25;

/// An answer: its code, and where that is no success the server's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    code: u16,
    reason: String,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test]
#[ignore = "needs a cluster, which ASTS_HONESTY_KUBECONFIG names"]
async fn the_store_answers_as_a_real_apiserver() {
    let kubeconfig = std::env::var_os("ASTS_HONESTY_KUBECONFIG").map(PathBuf::from).expect("ASTS_HONESTY_KUBECONFIG");
    let mut real = Real::connect(&kubeconfig).await.expect("a cluster");
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("SIM_FIRST").unwrap_or(1);
            first..first + number("SIM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let (mut requests, mut refused, mut different) = (0, 0, Vec::new());
    for seed in seeds.clone() {
        match play(seed, &mut real).await {
            Ok(counted) => {
                requests += counted.0;
                refused += counted.1;
            }
            Err(difference) => different.push(format!("SIM_SEED={seed}\n{difference}")),
        }
    }
    println!("seeds {seeds:?}: {requests} requests answered alike, {refused} of them refused");
    let shown: Vec<&str> = different.iter().take(5).map(String::as_str).collect();
    assert!(different.is_empty(), "{} seeds differ, the first of them:\n{}", different.len(), shown.join("\n\n"));
}

/// How many requests were made, and how many of them refused; or what differs, and what came before.
async fn play(seed: u64, real: &mut Real) -> Result<(usize, usize), String> {
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
        let differs = view::differences(&then_model, &then_real);
        if by_model != by_real || !differs.is_empty() {
            let same_object = |(told, _): &&(&Ask, String)| (told.kind, told.name) == (ask.kind, ask.name);
            let told: Vec<&str> = told.iter().filter(same_object).map(|(_, text)| text.as_str()).collect();
            let answers = format!("the store answers {by_model:?}, the apiserver {by_real:?} {}", real.message);
            return Err(format!("{}\n{answers}\n{}", told.join("\n"), differs.join("\n")));
        }
    }
    real.sweep().await?;
    Ok((script.len(), refused))
}
