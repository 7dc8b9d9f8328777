#!/usr/bin/env bash
# Everything that reads the code without running it; all steps run, then the failed ones are named.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bin=$PWD/.venv/bin
failed=()

# step NAME FOLDER COMMAND...: run it there, say how it went, and show its output if it failed.
step() {
    local name=$1 folder=$2 began=$SECONDS output
    shift 2
    if output=$(cd "$folder" && "$@" 2>&1 </dev/null); then
        printf 'check: %-28s ok      %3d s\n' "$name" "$((SECONDS - began))"
    else
        printf 'check: %-28s FAILED  %3d s\n%s\n' "$name" "$((SECONDS - began))" "$output"
        failed+=("$name")
    fi
}

uv=$(command -v uv || compgen -G "$PWD/.tools/uv-*/bin/uv" | sort -V | tail -n1)

step "ruff check" . "$bin/ruff" check .
step "ruff format" . "$bin/ruff" format --check .
step "mypy clarion" libs/clarion "$bin/mypy" -p clarion
step "mypy http_api" services/http-api "$bin/mypy" -p http_api
step "mypy ws_gateway" services/ws-gateway "$bin/mypy" -p ws_gateway
step "mypy notifier" services/notifier "$bin/mypy" -p notifier
step "mypy deploy, tests" . "$bin/mypy" -p deploy.dev -m deploy.scripts.smoke -m deploy.compose.load -m deploy.compose.reload -p tests.support -m tests.run
step "import-linter" . "$bin/lint-imports" --no-cache
if [ -n "$uv" ]; then
    UV_PYTHON_DOWNLOADS=never step "uv lock --check" . "$uv" lock --check --quiet
else
    printf 'check: %-28s FAILED  no uv: remove .venv and run this again\n' "uv lock --check"
    failed+=("uv lock --check")
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'check: %d failed: %s\n' "${#failed[@]}" "$(IFS=,; echo "${failed[*]}")"
    exit 1
fi
echo "check: all passed"
