#!/usr/bin/env bash
# Runs fuzz targets under libFuzzer, guided by coverage, on the stable compiler.
#
#   FUZZ_TARGET   one of the folders of corpus/ (default: each of them in turn)
#   FUZZ_SECONDS  how long each target runs (default: 60)
#
# What a target finds on its way is kept in TARGET/fuzz/corpus, what broke it in TARGET/fuzz/crashes. An input that is worth
# keeping goes into corpus/<name>/: `make test` then runs it for ever.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "fuzz.sh: $*" >&2; exit 1; }

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}/fuzz" && cd "${CARGO_TARGET_DIR:-target}/fuzz" && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')
seconds=${FUZZ_SECONDS:-60}
read -ra names <<<"${FUZZ_TARGET:-$(ls sidecar/fuzz/corpus)}"

# The counters that libFuzzer reads. --target keeps them out of build scripts and macros, which link no libFuzzer.
export RUSTFLAGS="--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=yes -Coverflow-checks=yes"

run() { # NAME
  local name=$1 source package folder
  source=$(grep -rl --include=*.rs --exclude-dir=fuzz "fuzz::run(\"$name\"" sidecar) || fail "there is no target $name: only $(ls -x sidecar/fuzz/corpus)"
  package=${source%%/src/*}; package=${package%%/tests/*}
  local tests=(--lib)
  [[ $source == */tests/* ]] && tests=(--test "$(basename "$(dirname "$source")")")
  folder=$target/corpus/$name
  mkdir -p "$folder" "$target/crashes"
  echo "== $name ($package), $seconds s"
  BOLERO_LIBFUZZER_ARGS="$folder $PWD/sidecar/fuzz/corpus/$name -max_total_time=$seconds -timeout=10 -rss_limit_mb=2048 \
-max_len=4096 -artifact_prefix=$target/crashes/$name- -print_final_stats=1 -verbosity=0" \
    cargo test --quiet --target "$host" --target-dir "$target" --profile fuzz --manifest-path "$package/Cargo.toml" \
    "${tests[@]}" "fuzz::${name//-/_}" -- --nocapture --test-threads 1
}

for name in "${names[@]}"; do
  run "$name"
done
