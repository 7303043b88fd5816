//! Tests of the contract on a real apiserver, with fake nodes (`ASTS_PROVIDER=local`) or any
//! other provider of `e2e/cluster`.

mod abilities;
mod adoption;
mod chaos;
mod claim_growth;
mod claims;
mod cli_adopt;
mod cli_connect;
mod cli_convert;
mod cli_live;
mod cli_plan;
mod cli_plugin;
mod cli_rollout;
mod cli_run;
mod cli_screens;
mod cli_show;
mod cli_state;
mod crd;
mod crd_cases;
mod deletion;
mod environment;
mod faults;
mod flags;
mod harness;
mod hostile;
mod identity;
mod inplace;
mod lifecycle;
mod merges;
mod names;
mod one_namespace;
mod ordinals;
mod outages;
mod partition;
mod paused;
mod peers;
mod pre_pull;
mod priorities;
mod random_changes;
mod rbac;
mod refusals;
mod resize;
mod restarts;
mod revisions;
mod rollout;
mod scale;
mod schema;
mod smoke;
mod status;
mod tutorial;
mod valid_edits;

use std::process::ExitCode;

use harness::Test;
use libtest_mimic::Arguments;

/// Tests mostly wait: this many at once keep two cores busy.
const TESTS_AT_ONCE: usize = 8;

fn tests() -> Vec<Test> {
    [
        smoke::tests(),
        faults::tests(),
        abilities::tests(),
        adoption::tests(),
        chaos::tests(),
        claim_growth::tests(),
        claims::tests(),
        cli_plan::tests(),
        cli_adopt::tests(),
        cli_connect::tests(),
        cli_convert::tests(),
        cli_live::tests(),
        cli_rollout::tests(),
        cli_screens::tests(),
        cli_show::tests(),
        crd::tests(),
        deletion::tests(),
        environment::tests(),
        hostile::tests(),
        flags::tests(),
        identity::tests(),
        inplace::tests(),
        lifecycle::tests(),
        merges::tests(),
        names::tests(),
        one_namespace::tests(),
        ordinals::tests(),
        outages::tests(),
        partition::tests(),
        paused::tests(),
        peers::tests(),
        pre_pull::tests(),
        priorities::tests(),
        random_changes::tests(),
        refusals::tests(),
        resize::tests(),
        restarts::tests(),
        revisions::tests(),
        rollout::tests(),
        scale::tests(),
        schema::tests(),
        status::tests(),
        tutorial::tests(),
        valid_edits::tests(),
    ]
    .concat()
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TESTS_AT_ONCE);
    let provider = std::env::var("ASTS_PROVIDER").unwrap_or_else(|_| "local".to_owned());
    harness::suite::run(&arguments, &provider, &[], &tests(), &rbac::tests())
}
