//! One target for all checks: the first byte chooses.
#![no_main]

#[path = "../hostile/checks.rs"]
mod checks;
#[path = "../hostile/mutate.rs"]
mod mutate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    match first % 4 {
        0 => checks::text(&String::from_utf8_lossy(rest)),
        1 => checks::templates(rest),
        _ => checks::world(rest),
    }
});
