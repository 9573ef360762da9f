//! What fails beside other tests is asked again, alone (`e2e/twice.sh`); what fails again, or was never asked, fails the tier.

use std::process::Command;

use anyhow::Result;
use e2e::loss;

/// The end of a test program's output, as Rust's harness writes it; what the first failed test had printed looks like a list itself.
const TWO_FAILED: &str = r"
failures:

---- a::first stdout ----
failures:
    not::a_test

---- b::second stdout ----

failures:
    a::first
    b::second

test result: FAILED. 7 passed; 2 failed; 0 ignored
";

/// Of the list, and in no module.
const LOST: &str = "kill_9_under_load_loses_nothing_acknowledged_and_repeats_nothing_committed";

/// Runs `twice` with a harness that prints `output` and fails at first, and ends with `again` at the second time.
///
/// Gives whether all was well in the end, and all that was printed, the options of each run among it.
fn twice(output: &str, again: i32) -> Result<(bool, String)> {
    let script = r#"
        set -euo pipefail
        . e2e/setup.sh
        . e2e/twice.sh
        runs=$(mktemp)
        trap 'rm "$runs"' EXIT
        harness() {
          echo "asked: $*"
          echo >>"$runs"
          [ "$(wc -l <"$runs")" = 1 ] || return "$AGAIN"
          printf '%s' "$OUTPUT"
          return 101
        }
        twice harness --show-output
    "#;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(root).env("OUTPUT", output).env("AGAIN", again.to_string());
    let ended = bash.output()?;
    Ok((ended.status.success(), String::from_utf8(ended.stdout)?))
}

#[test]
fn who_fails_is_asked_again_alone_and_named() -> Result<()> {
    let (well, said) = twice(TWO_FAILED, 0)?;
    assert!(well, "{said}");
    assert!(said.contains("asked: --show-output --test-threads 1 --exact a::first b::second\n"), "{said}");
    assert!(said.contains("again: a::first failed beside others, and passed alone\n"), "{said}");
    Ok(())
}

#[test]
fn who_fails_again_has_failed() -> Result<()> {
    let (well, said) = twice(TWO_FAILED, 101)?;
    assert!(!well && !said.contains("again:"), "{said}");
    Ok(())
}

#[test]
fn what_says_nothing_of_the_other_tests_is_not_asked_again() -> Result<()> {
    let many: String = (0..6).map(|n| format!("    t{n}\n")).collect();
    for output in [
        "error: could not compile `mesh`".to_owned(),
        format!(
            "{TWO_FAILED}\n  process didn't exit successfully: `deps/it` (signal: 6, SIGABRT: process abort signal)\n"
        ),
        format!("{TWO_FAILED}\nerror: could not compile `mesh`\n"),
        format!("failures:\n{many}\ntest result: FAILED. 0 passed; 6 failed\n"),
    ] {
        let (well, said) = twice(&output, 0)?;
        assert!(!well && said.matches("asked:").count() == 1, "{said}");
    }
    Ok(())
}

/// A race that loses a message shows itself once in many runs.
#[test]
fn who_proves_that_nothing_is_lost_is_not_asked_again_nor_is_who_fails_beside_it() -> Result<()> {
    let in_a_module = format!("across::{LOST}");
    for proof in [in_a_module.as_str(), LOST] {
        let (well, said) = twice(&TWO_FAILED.replace("    a::first\n", &format!("    {proof}\n")), 0)?;
        assert!(!well && said.matches("asked:").count() == 1, "{said}");
        let why = "not asked again, as a test of e2e/final.txt is among them: ";
        assert!(
            [format!("b::second {proof}\n"), format!("{proof} b::second\n")]
                .iter()
                .any(|names| said.contains(&format!("{why}{names}"))),
            "{said}"
        );
    }
    // A test that proves more says which of it failed.
    let loss = loss::none_unless(false, || "3 messages".into()).expect_err("it was lost");
    let (well, said) = twice(
        &TWO_FAILED.replace("---- b::second stdout ----\n", &format!("---- b::second stdout ----\nError: {loss}\n")),
        0,
    )?;
    assert!(!well && said.contains("not asked again, as something was lost: a::first b::second\n"), "{said}");
    // Only whole names count.
    let (well, said) = twice(&TWO_FAILED.replace("a::first", &format!("a::{LOST}_of_another_kind")), 0)?;
    assert!(well && said.matches("asked:").count() == 2, "{said}");
    Ok(())
}
