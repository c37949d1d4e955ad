#!/usr/bin/env bash
# The lab: twelve hosts on network namespaces. Needs root, ip and nft; is skipped by name without.
# Whatever happens, no namespace and no process of it is left.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "skipped lab: $*"
    exit 0
}
[[ $(id -u) == 0 ]] || skip "needs root for network namespaces"
command -v ip >/dev/null || skip "needs ip (iproute2)"
command -v nft >/dev/null || skip "needs nft (nftables)"
export LAB_PREFIX="lab$$"
ip netns add "$LAB_PREFIX-try" 2>/dev/null || skip "this kernel gives us no network namespaces"
ip netns del "$LAB_PREFIX-try"

end() {
    local space
    for space in $(ip netns list | awk -v prefix="$LAB_PREFIX-" 'index($1, prefix) == 1 { print $1 }'); do
        ip netns pids "$space" | xargs -r kill -9 2>/dev/null || true
        ip netns del "$space" 2>/dev/null || true
    done
}
trap end EXIT

# The daemons log when they dial, and the lab reads its times there.
export CONCLAVE_LOG="info,peer::daemon::fabric=debug,peer::link=debug"
"${CARGO:-cargo}" test --quiet --locked -p tests --test lab
