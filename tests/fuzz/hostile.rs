//! One target for all checks: the first byte chooses.
#![no_main]

#[path = "../hostile/checks.rs"]
mod checks;
#[path = "../hostile/mutate.rs"]
mod mutate;
#[path = "../hostile/patches.rs"]
mod patches;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    match first % 5 {
        0 => checks::text(&String::from_utf8_lossy(rest)),
        1 => checks::templates(rest),
        2 => patches::patches(rest),
        _ => checks::world(rest),
    }
});
