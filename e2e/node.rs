//! Tests on this machine's own kubelet and containerd: what no fake node can show. They need root,
//! and are skipped where it is not given.

// What only the tests with fake nodes use.
#[allow(dead_code, unused_imports)]
mod harness;
mod real;

use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Each of them starts containers.
const TESTS_AT_ONCE: usize = 4;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TESTS_AT_ONCE);
    let tests = real::tests();
    if !is_root() && !arguments.list {
        println!("skipped: a kubelet needs root");
        println!("0 passed, 0 failed, {} skipped", tests.len());
        return ExitCode::SUCCESS;
    }
    harness::suite::run(&arguments, "node", &tests, &[])
}
