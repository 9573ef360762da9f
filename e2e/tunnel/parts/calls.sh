# shellcheck shell=bash
# Every call, refusal, packet and end, as the contract has it.
step "a node and an administrator of LiteKube"
in_net a "$legacy" checks "$server:6440" "$server:6439" "$admin" || fail "the calls"
