#!/bin/sh
# Renews the image's locked versions from pyproject.toml, held to those that the tests run with (requirements.lock).
# Usage: deploy/lock.sh [path of uv]
set -eu
cd "$(dirname "$0")/.."
uv=${1:-.venv/bin/uv}
compile() {
    "$uv" pip compile --quiet --constraint requirements.lock --python-version 3.11 --universal --generate-hashes \
        --no-header --no-emit-index-url "$@"
}
compile pyproject.toml deploy/image.in --extra postgres --output-file deploy/requirements.lock
# What `make demo` installs, and what the sandbox's image has besides.
compile pyproject.toml --extra sandbox --output-file deploy/sandbox.lock
printf 'setuptools>=77\nwheel\n' | compile - --output-file deploy/build.lock
