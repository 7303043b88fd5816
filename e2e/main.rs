//! Tests of the contract on a real apiserver, with fake nodes (`ASTS_PROVIDER=local`) or any
//! other provider of `e2e/cluster`.

mod crd;
mod crd_cases;
mod harness;
mod smoke;

use std::process::ExitCode;

use harness::Test;
use libtest_mimic::Arguments;

/// Tests mostly wait: this many at once keep two cores busy.
const TESTS_AT_ONCE: usize = 8;

fn tests() -> Vec<Test> {
    [crd::tests(), smoke::tests()].concat()
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TESTS_AT_ONCE);
    let provider = std::env::var("ASTS_PROVIDER").unwrap_or_else(|_| "local".to_owned());
    harness::suite::run(&arguments, &provider, &tests(), &[])
}
