#!/bin/sh
# Installs a lock's packages into .venv, hashes checked, and this package as a link to its sources. Removes nothing, so
# that a small and a large set share one .venv. PYTHON names the interpreter of a new .venv.
# Usage: deploy/install.sh LOCK SIZE
set -eu
cd "$(dirname "$0")/.."
lock=$1 size=$2 python=.venv/bin/python log=.venv/install.log
pip="$python -m pip --quiet --disable-pip-version-check install --no-deps"

if [ ! -x $python ]; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "Python 3.11 or newer is needed: make PYTHON=/usr/bin/python3.11 …" >&2
        exit 1
    }
fi
printf 'Installing %s packages (about %s) into .venv: less than a minute on a fast network ' "$(grep -c == "$lock")" "$size"
uv=$(command -v uv || true)
[ -x $python ] || "${PYTHON:-python3}" -m venv ${uv:+--without-pip} .venv
if [ -z "$uv" ]; then
    uv=.venv/bin/uv
    # The lock's entry of uv alone.
    [ -x $uv ] || sed -n '/^uv==/,/[^\\]$/p' requirements.lock | $pip --require-hashes --requirement /dev/stdin
fi

# Everything goes to the log; a dot for each large download shows that it goes on.
install() {
    rm -f $log.failed
    { "$uv" pip install --python $python --no-deps "$@" 2>&1 || : >$log.failed; } | tee $log | while read -r word _; do
        case $word in Downloaded) printf . ;; esac
    done
    [ ! -e $log.failed ]
}
if install --require-hashes --requirement deploy/build.lock --requirement "$lock"; then
    install --no-build-isolation --editable . || { cat $log >&2 && exit 1; }
else
    cat $log >&2
    [ $uv = .venv/bin/uv ] || exit 1
    echo "uv could not install them. Trying pip, which may know other indexes and certificates; it takes some minutes."
    $pip --require-hashes --requirement deploy/build.lock --requirement "$lock"
    $pip --no-build-isolation --editable .
fi
echo " done."
