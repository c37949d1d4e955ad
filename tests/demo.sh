#!/usr/bin/env bash
# The main job, told while it happens: an authority, three peers, an outsider, a revocation.
# Loopback only, in a folder that is removed; every process is ended by its id.
set -euo pipefail

here="$(cd "$(dirname "$0")/.." && pwd)"
bin="$(cd "$here" && cd "${BIN:-${CARGO_TARGET_DIR:-target}/debug}" && pwd)"
PATH="$bin:$PATH"
unset CONCLAVE_PKI CONCLAVE_PASSPHRASE
work="$(mktemp -d)"
pids=()
shown=()

end() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap end EXIT
cd "$work"

bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi
tell() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ %s\n' "$*"; "$@"; }
fail() {
    echo "demo: $*" >&2
    tail -n 20 "$work"/*.log >&2 || true
    exit 1
}

# start BUNDLE [ARGS]: runs a peer in the background; its address is then in $address.
start() {
    local bundle=$1 name=${1%.bundle} line=''
    shift
    printf '$ peer run %s %s&\n' "$bundle" "${*:+$* }"
    : >"$name.out" # so that it can be read before the peer has begun
    peer run "$bundle" --listen 127.0.0.1:0 "$@" >"$name.out" 2>"$name.log" &
    pids+=("$!")
    for _ in $(seq 200); do
        line="$(head -n 1 "$name.out")"
        [[ -n $line ]] && break
        kill -0 "${pids[-1]}" 2>/dev/null || fail "$name does not start"
        sleep 0.05
    done
    [[ -n $line ]] || fail "$name does not listen"
    echo "$line"
    address="${line##* }"
}

# until_true WHAT COMMAND…: polls for ten seconds.
until_true() {
    local what=$1
    shift
    for _ in $(seq 200); do
        if "$@"; then return 0; fi
        sleep 0.05
    done
    fail "waited in vain: $what"
}
says() { peer status "$1" --json 2>/dev/null | grep -q "$2"; }
links() { (($(peer status "$1" --json 2>/dev/null | grep -o '"rtt_us"' | wc -l) == $2)); }

tell '1. An authority, and three machines that it makes nodes of.'
run ca-tool init mesh.example --no-encrypt
run ca-tool enroll alice --out alice.bundle
run ca-tool enroll bob --out bob.bundle
run ca-tool enroll carol --out carol.bundle

tell '2. Three peers. Each of the others knows one address; they find the rest.'
start alice.bundle
alice=$address
start bob.bundle --peer "alice=$alice"
start carol.bundle --peer "alice=$alice"
for node in alice bob carol; do until_true "$node has two links" links "$node.bundle" 2; done
run peer status bob.bundle
run peer send bob.bundle carol "hello from bob"
run peer inbox carol.bundle
shown+=("three nodes linked over mutual TLS, each with each")

tell '3. An outsider: same name of network, another authority.'
ca-tool --pki elsewhere init mesh.example --no-encrypt >/dev/null
ca-tool --pki elsewhere enroll mallory --out mallory.bundle >/dev/null
start mallory.bundle --peer "alice=$alice"
until_true 'mallory is refused' says mallory.bundle foreign-authority
echo "mallory: refused, foreign-authority"
links mallory.bundle 0 || fail 'mallory has a link'
shown+=("an outsider refused (foreign-authority)")
if command -v openssl >/dev/null; then
    openssl s_client -connect "$alice" -tls1_3 -alpn conclave/1 </dev/null >/dev/null 2>&1 || true
    until_true 'the stranger is refused' says alice.bundle no-certificate
    echo "openssl s_client, without a certificate: refused, no-certificate"
    shown+=("a stranger without a certificate refused (no-certificate)")
else
    echo "openssl is not installed: the stranger without a certificate is skipped"
fi

tell '4. bob is revoked, while his links stand.'
printf '$ ca-tool revoke bob --reason key-compromise --via %s\n' "$alice"
revoked="$(ca-tool revoke bob --reason key-compromise --via "$alice")"
echo "$revoked"
grep -q 'cut on 2/2 peers' <<<"$revoked" || fail 'not cut on 2/2 peers'
shown+=("$(grep -o 'cut on 2/2 peers.*' <<<"$revoked")")
until_true 'bob has no link' links bob.bundle 0
until_true 'bob learns why' says bob.bundle revoked
run peer status bob.bundle
shown+=("bob learned the reason (revoked)")

tell '5. Nothing passes to bob or from bob; the others go on.'
for pair in "bob alice" "alice bob"; do
    read -r from to <<<"$pair"
    printf '$ peer send %s.bundle %s "still there?"\n' "$from" "$to"
    if peer send "$from.bundle" "$to" "still there?" 2>&1; then fail "$from reached $to"; fi
done
shown+=("messages to and from bob refused")
run peer send carol.bundle alice "we go on"
shown+=("alice and carol still linked")

tell 'Shown:'
printf '  - %s\n' "${shown[@]}"
