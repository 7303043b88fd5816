//! Hostile input: whatever bytes somebody puts into an object, nothing panics, and what is read and written again is
//! the same. The fuzzer of `tests/fuzz` drives the same checks by coverage.
#![allow(clippy::unwrap_used, reason = "tests")]

mod checks;
mod mutate;
mod patches;

use proptest::prelude::*;

/// Failures are seen in the test's output; no files are kept of them.
fn cases() -> ProptestConfig {
    let cases = std::env::var("HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_texts_are_read_and_written_again(text in "[ -~é\u{0}]{0,80}", number in "[0-9,-]{0,40}", percent in "[+0-9.-]{0,6}%?") {
        checks::text(&text);
        checks::text(&number);
        checks::text(&percent);
    }

    #[test]
    fn any_objects_are_planned_for(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        checks::world(&bytes);
    }

    #[test]
    fn any_templates_have_differences_and_hashes_that_hold(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        checks::templates(&bytes);
    }

    #[test]
    fn any_patches_are_guarded_and_touch_what_differs(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        patches::patches(&bytes);
    }
}
