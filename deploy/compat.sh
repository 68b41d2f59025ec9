#!/usr/bin/env bash
# Runs a quick part of the tests on newer Pythons, and on the oldest and the newest Dagster that pyproject.toml allows:
# each in an environment of its own, with the locked versions of everything else.
# Usage: deploy/compat.sh [python3.12 | python3.13 | oldest | newest]…   (without a name: all)
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$PWD/.venv/bin/uv
dagster=(dagster dagster-aws dagster-webserver dagster-postgres dagster-dg-cli)
tests=(
    toast_assets_tests/defs/test_{definitions,alerts}.py
    toast_assets_tests/defs/test_checks.py::Test{Blocking,SingleChecks}
    toast_assets_tests/defs/test_sensors.py::Test{WhetherItStartsAnything,OnAnEmptyBucket}
    toast_assets_tests/cli/test_demo.py
    toast_assets_tests/pull/test_week.py
    toast_assets_tests/delivery/test_{deliver,rejects}.py
    toast_assets_tests/http/test_bodies.py
)
# pyenv's python3.12 refuses to start unless pyenv has that version chosen.
if command -v pyenv >/dev/null; then
    PYENV_VERSION=$(pyenv versions --bare --skip-aliases | paste -sd:)
    export PYENV_VERSION
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Usage: try name python [argument of `uv pip install`]…
try() {
    local name=$1 python=$2 venv=$work/$1 version
    shift 2
    if ! "$uv" venv --quiet --python "$python" "$venv"; then
        echo "compat $name: SKIPPED, Python $python is not here and could not be downloaded."
        return
    fi
    "$uv" pip install --quiet --python "$venv" --no-deps --require-hashes --requirement requirements.lock
    "$uv" pip install --quiet --python "$venv" --no-build-isolation --editable '.[dev]' "$@"
    version=$("$uv" pip freeze --quiet --python "$venv" | grep '^dagster==')
    if [ "$name" = newest ] && grep --quiet "^$version " requirements.lock; then
        echo "compat newest: no set of Dagster packages on the index is newer than the locked one ($version)."
        return
    fi
    echo "compat $name: $("$venv/bin/python" --version), $version"
    "$venv/bin/python" -m pytest --quiet -n auto --dist worksteal -p no:cacheprovider "${tests[@]}"
}

[ $# -gt 0 ] || set -- python3.12 python3.13 oldest newest
for name; do
    case $name in
    python*) try "$name" "${name#python}" ;;
    oldest) try oldest 3.11 "$(sed -n 's/^    "\(dagster>=[0-9.]*\),.*/\1/p' pyproject.toml | sed 's/>=/==/')" ;;
    newest) try newest 3.11 "${dagster[@]/#/--upgrade-package=}" ;;
    *) echo "compat: $name is not one of python3.12, python3.13, oldest, newest." >&2 && exit 2 ;;
    esac
done
