//! A simulation of whole clusters: the real planner, and around it a store, kubelets, users and
//! faults that a seed decides. `SIM_SEED=7 SIM_TRACE=1 cargo test --lib sim::` replays one run
//! with its trace, `SIM_SEEDS=5000` asks for so many, from `SIM_FIRST` upward.

mod admission;
mod agent;
mod chaos;
mod clocks;
mod cluster;
mod container;
mod controller;
mod crowd;
mod denials;
mod executor;
mod facts;
mod honesty;
mod hook_regressions;
mod kubelet;
pub mod merge;
mod misfortune;
mod misfortune_stories;
mod mutants;
mod oracle;
mod oracle_rules;
mod plan_oracle;
mod policy;
mod random;
mod regressions;
mod requests;
mod rollout_oracle;
mod run;
mod schema;
mod script;
mod server;
mod shrink;
mod state;
mod store;
mod stories;
mod summary;
mod sweep;
mod user;
mod wire;
mod workloads;
mod world;

#[cfg(test)]
mod tests;
