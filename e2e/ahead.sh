#!/usr/bin/env bash
# Makes what later tiers need while the tiers before them run: tests wait more than they work, and two processors build for a quarter of
# an hour. The priority is the one at which a program runs when nobody else wants to, so that tests do not notice.
#
#   ahead.sh TIERS    which tiers will run, with commas between
#
# Nothing depends on it: who needs a part sooner waits for it, and what cannot be made is made again, and its error shown, by its tier.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. e2e/setup.sh

chrt --idle --pid 0 $$ 2>/dev/null || renice -n 19 -p $$ >/dev/null

needs() { [[ ",$tiers," == *",$1,"* ]]; } # TIER

tiers=$1
command -v go >/dev/null || exit 0
if needs unit; then
  nats_server
  nats_server "$nats_oldest"
fi
if needs api; then
  helm
  definitions_of_others
  e2e/cluster/build.sh
fi
if needs node; then make --no-print-directory programs; fi
