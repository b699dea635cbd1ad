#!/usr/bin/env bash
# Sets this checkout up: .venv with the locked dependencies, and a RabbitMQ server if the machine has none.
# Idempotent; under two seconds when there is nothing to do. `setup.sh bench` adds what only the benchmarks need.
#   PYTHON=python3.12  use this interpreter (any ≥ 3.11)
#   AMQP_URL=…         an existing broker; none is installed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "setup: $*"; }
die() {
    printf '%s\n' "setup: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed for: $* (run it as root, or install sudo)"
    fi
}

# Debian and Ubuntu start a service when its package is installed. Ours runs as a private node, so no service may be
# started, and none that already runs may be restarted.
apt_install() {
    local policy=/usr/sbin/policy-rc.d made='' status=0
    say "installing $* (Debian package)"
    if [ ! -e "$policy" ]; then
        # Also when interrupted, because with this file no Debian package would ever start its service again.
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made=yes
    fi
    local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 RUNLEVEL=1
        apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
    # A broken third-party source makes `update` fail although the package is available, so the install decides.
    as_root "${apt[@]}" update >&2 || say "apt-get update failed; trying to install all the same"
    as_root "${apt[@]}" install -y --no-install-recommends "$@" >&2 || status=$?
    if [ -n "$made" ]; then
        as_root rm -f "$policy"
        trap - EXIT INT TERM HUP
    fi
    [ "$status" = 0 ] || die "apt-get could not install $*: see above"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        # Run it, because PATH may hold a shim for a version that is not installed.
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    die "no Python ≥ 3.11 found${PYTHON:+ as $PYTHON}; install python3.11 or newer, or name one: make setup PYTHON=/path/to/python3"
}

# Debian has ensurepip, which `venv` needs, in a separate package.
need_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    command -v apt-get >/dev/null || die "$1 has no venv module; install it, or name another: make setup PYTHON=…"
    apt_install "$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
}

has_rabbitmq() {
    local place
    for place in /usr/lib/rabbitmq/bin /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin; do
        [ -x "$place/rabbitmq-server" ] && return
    done
    command -v rabbitmq-server >/dev/null
}

install_rabbitmq() {
    if command -v apt-get >/dev/null; then
        apt_install rabbitmq-server
        # A later boot must not start it either; only for a server that was not installed before.
        if [ -d /run/systemd/system ]; then as_root systemctl disable -q rabbitmq-server || true; fi
    elif command -v brew >/dev/null; then
        say "installing rabbitmq (Homebrew)"
        brew install -q rabbitmq >&2
    else
        die "no RabbitMQ server here, and neither apt-get nor brew to install one; install RabbitMQ ≥ 3.10, or set AMQP_URL"
    fi
    has_rabbitmq || die "RabbitMQ was installed but no rabbitmq-server is to be found; put it on PATH, or set AMQP_URL"
}

# A checksum of everything that determines the contents of .venv, including the folder, which its scripts name.
wanted() { { cat "$@" && pwd -P; } | cksum; }

install_locked() { # stamp, requirements file
    local stamp=.venv/$1 lock=$2 want
    want=$(wanted "$lock" pyproject.toml)
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return
    say "installing $lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
    printf '%s\n' "$want" >"$stamp"
}

if [ -z "${AMQP_URL:-}" ]; then has_rabbitmq || install_rabbitmq; fi

if ! .venv/bin/python -c '' 2>/dev/null; then
    python=$(find_python)
    need_venv_module "$python"
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
install_locked setup-dev requirements/dev.txt
if [ "${1:-}" = bench ]; then install_locked setup-bench requirements/bench.txt; fi
