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

# background NAME SIGN COMMAND…: runs in the background until it says the sign; the address at the
# end of that line is then in $address.
background() {
    local name=$1 sign=$2 line=''
    shift 2
    : >"$name.out" # so that it can be read before the program has begun
    "$@" <&0 >"$name.out" 2>"$name.log" &
    pids+=("$!")
    for _ in $(seq 200); do
        line="$(grep -m 1 "$sign" "$name.out" || true)"
        [[ -n $line ]] && break
        kill -0 "${pids[-1]}" 2>/dev/null || fail "$name does not start"
        sleep 0.05
    done
    [[ -n $line ]] || fail "$name does not listen"
    cat "$name.out"
    address="${line##* }"
}

# start BUNDLE [ARGS]: runs a peer.
start() {
    local bundle=$1
    shift
    printf '$ peer run %s %s&\n' "$bundle" "${*:+$* }"
    background "${bundle%.bundle}" 'listens on' peer run "$bundle" --listen 127.0.0.1:0 "$@"
}

# join NODE: an invitation there, a machine that takes it here.
join() {
    printf '$ ca-tool invite %s\n' "$1"
    ca-tool invite "$1" 2>/dev/null >"$1.invitation"
    sed 's/^peer join //' "$1.invitation" >"$1.string"
    printf 'peer join %.40s…\n$ peer join %.40s… &\n' "$(<"$1.string")" "$(<"$1.string")"
    background "$1" 'listens on' peer join - --listen 127.0.0.1:0 --no-lan <"$1.string"
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

tell '1. An authority, online.'
run ca-tool init mesh.example --no-encrypt
printf '$ ca-tool serve &\n'
background authority 'answers on' ca-tool serve --listen 127.0.0.1:0 --mesh 127.0.0.1:0

tell '2. Three machines, one string each. Each makes its own key; they find each other.'
join alice
alice=$address
join bob
join carol
# With each other, and with the authority, which is a member too.
for node in alice bob carol; do until_true "$node has three links" links "$node.bundle" 3; done
run peer status bob.bundle
run peer send bob.bundle carol "hello from bob"
run peer inbox carol.bundle
shown+=("three nodes joined by a string, linked over mutual TLS, each with each")

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
printf '$ ca-tool revoke bob --reason key-compromise\n'
revoked="$(ca-tool revoke bob --reason key-compromise)"
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
