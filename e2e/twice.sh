# shellcheck shell=bash
# Tests that fail are asked once more, alone. Sourced by tiers.sh.
#
# Many tests share a machine with each other, and some then miss a limit that they keep by themselves. A fault fails again; who passes
# only alone is named in the summary, so that nobody takes it for well.

# More than these at once are no accident.
most_again=5

# Tests whose failure stands, whoever else ran: they prove that nothing is lost. Others say it by the word LOST (e2e/src/loss.rs).
final=$(dirname "${BASH_SOURCE[0]}")/final.txt

# Runs `COMMAND ARGUMENTS...`, which must end with options of Rust's test harness.
# Only failures that the harness names are asked again: a build that breaks, or a program that dies, says nothing of the other tests.
twice() { # COMMAND [ARGUMENTS...]
  local log failed=() lost=0
  log=$(mktemp)
  if "$@" 2>&1 | tee "$log"; then
    rm "$log"
    return
  fi
  mapfile -t failed < <(failed_tests <"$log")
  if ((${#failed[@]} == 0 || ${#failed[@]} > most_again)) || grep -qE "^error: could not compile|\(signal: [0-9]+" "$log"; then
    rm "$log"
    return 1
  fi
  ! grep -q "LOST: " "$log" || lost=1
  rm "$log"
  if printf '%s\n' "${failed[@]##*::}" | grep -qxFf <(grep -E '^[a-z]' "$final"); then
    step "not asked again, as a test of e2e/final.txt is among them: ${failed[*]}"
    return 1
  fi
  if [ $lost = 1 ]; then
    step "not asked again, as something was lost: ${failed[*]}"
    return 1
  fi
  step "once more, alone: ${failed[*]}"
  "$@" --test-threads 1 --exact "${failed[@]}" || return
  printf 'again: %s failed beside others, and passed alone\n' "${failed[@]}"
}

# The names that each failed test program lists last; what tests printed stands in an earlier list of the same title.
failed_tests() {
  awk '
    /^failures:$/ { n = 0; listed = 1; next }
    listed && /^    [^ ]/ { name[n++] = substr($0, 5) }
    /^test result: FAILED/ { while (n > 0) print name[--n] }
    /^test result:/ { n = 0; listed = 0 }' | sort -u
}
