#!/usr/bin/env bash
# What `make test-containers` runs: the containers' tests if a Docker engine with Compose v2 answers, else one line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! docker info >/dev/null 2>&1; then
    echo "test-containers: skipped: no Docker engine answers"
elif ! docker compose version >/dev/null 2>&1; then
    echo "test-containers: skipped: docker has no Compose v2"
else
    exec .venv/bin/python tests/run.py containers "$@"
fi
