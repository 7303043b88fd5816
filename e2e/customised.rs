//! Tests on a customised cluster (`e2e/cluster/customised`): its apiserver, one node of this
//! machine whose kubelet is customised, and one whose kubelet is stock. They need root, and are
//! skipped where it is not given.

mod containers;
mod follows;
// What only the tests with fake nodes use.
#[allow(dead_code, unused_imports)]
mod harness;

use std::process::ExitCode;

/// Each of them starts containers.
const TESTS_AT_ONCE: usize = 4;

fn main() -> ExitCode {
    harness::suite::run_as_root("node", &["--customised", "--stock-node"], TESTS_AT_ONCE, &follows::tests())
}
