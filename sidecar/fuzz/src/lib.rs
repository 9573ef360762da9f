//! How a fuzz target runs. A target is a unit test beside the parser that it tries: `fuzz::run("json-body", |bytes| ...)`.
//!
//! In every test run it gets each file of `corpus/<name>/`, and a fixed number of mutations of them, the same in every
//! run. `make fuzz` builds the same test with coverage counters and hands it to libFuzzer, which adds what it finds to a
//! working copy of the corpus; `fuzz.sh` beside this crate says how. A target asserts something: a bound, a round trip,
//! two readers that agree. A crash is a failed assertion or a panic, and its bytes are printed.

mod mutate;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
};

use mutate::Mutator;

/// Mutations in one test run, over the whole corpus of a target: some seconds for all targets in a debug build.
const MUTATIONS: usize = 3_000;

/// The longest input. Bounds of the parsers that lie above it have tests of their own.
const LONGEST: usize = 4 << 10;

/// Runs the target `name`.
///
/// # Panics
/// When the target does, after its input was printed; and when it has no corpus.
pub fn run(name: &str, target: impl Fn(&[u8])) {
    if cfg!(fuzzing_libfuzzer) {
        guided(&target);
    } else {
        short(name, &target);
    }
}

#[cfg(fuzzing_libfuzzer)]
fn guided(target: &impl Fn(&[u8])) {
    let target = AssertUnwindSafe(target);
    bolero::check!().for_each(|bytes: &[u8]| target(bytes));
}

#[cfg(not(fuzzing_libfuzzer))]
fn guided(_: &impl Fn(&[u8])) {}

fn short(name: &str, target: &impl Fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus: put its first inputs into sidecar/fuzz/corpus/{name}/");
    corpus.iter().for_each(|bytes| tell(name, bytes, target));
    tell(name, &[], target);
    let mut mutator = Mutator::new(&corpus, LONGEST);
    for _ in 0..MUTATIONS {
        tell(name, &mutator.next(), target);
    }
}

/// Runs the target once; its input is printed when it fails, ready to become a file of the corpus.
fn tell(name: &str, bytes: &[u8], target: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
        println!("{name} failed on {} bytes: b\"{}\"", bytes.len(), bytes.escape_ascii());
        resume_unwind(panic);
    }
}

/// The committed inputs, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().filter_map(|file| fs::read(file).ok()).collect()
}
