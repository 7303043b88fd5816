//! Tests on this machine's own kubelet and containerd: what no fake node can show. They need root,
//! and are skipped where it is not given.

// What only the tests with fake nodes use.
#[allow(dead_code)]
mod cli_plugin;
mod cli_state;
mod containers;
// What only the tests with fake nodes use.
#[allow(dead_code, unused_imports)]
mod harness;
#[allow(dead_code)]
mod live;
mod real;
mod real_adopt;
mod real_faults;
mod real_pulls;
mod real_restarts;
mod registry;
mod rows;

use std::process::ExitCode;

/// Each of them starts containers.
const TESTS_AT_ONCE: usize = 4;

fn tests() -> Vec<harness::Test> {
    [real::tests(), real_pulls::tests(), real_restarts::tests(), rows::stock::tests(), rows::resources::tests()]
        .concat()
}

/// One by one: what looks whether the manager renews its lease, what kills the manager, what kills the node's own programs.
fn tests_alone() -> Vec<harness::Test> {
    [real_adopt::tests(), real_pulls::killed::tests(), real_faults::tests()].concat()
}

fn main() -> ExitCode {
    harness::suite::run_as_root(&[], TESTS_AT_ONCE, &tests(), &tests_alone())
}
