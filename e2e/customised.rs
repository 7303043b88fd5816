//! Tests on a customised cluster (`e2e/cluster/customised`): its apiserver, one node of this
//! machine whose kubelet is customised, and one whose kubelet is stock. They need root, and are
//! skipped where it is not given.

mod containers;
mod denied;
mod follows;
// What only the tests with fake nodes use.
#[allow(dead_code, unused_imports)]
mod harness;
mod real_restarts;
mod rows;

use std::process::ExitCode;

/// Each of them starts containers.
const TESTS_AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let tests = [
        denied::tests(),
        follows::tests(),
        real_restarts::tests(),
        rows::customised::tests(),
        rows::mixed::tests(),
        rows::resources::tests(),
    ]
    .concat();
    harness::suite::run_as_root(&["--customised", "--stock-node"], TESTS_AT_ONCE, &tests, &rows::mixed::last::tests())
}
