"""Ctrl-C and Terminate end a run, also where they arrive in the middle of asyncio's own code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from toast_assets.interrupts import run

_INTERRUPTED = """
import asyncio, os, signal, sys
from toast_assets.interrupts import run

class Interrupted(BaseException):
    pass

def raise_it(*_):
    raise Interrupted

number = getattr(signal, sys.argv[1])
signal.signal(number, raise_it)

async def main():
    # An error that is raised in a callback is logged by asyncio, and that is all.
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
    try:
        await asyncio.sleep(3600)
    finally:
        print("ended in order")

try:
    run(main())
except Interrupted:
    print("interrupted")
assert signal.getsignal(number) is raise_it
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_what_is_under_way_and_reaches_the_handler_that_was_there(name: str) -> None:
    done = subprocess.run(  # noqa: S603 - this very code
        [sys.executable, "-c", _INTERRUPTED, name], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended in order\ninterrupted\n", "")


def test_a_result_is_returned_and_an_error_raised_as_it_is() -> None:

    async def main(*, fails: bool) -> int:
        if fails:
            raise LookupError("its own")
        return 7

    assert run(main(fails=False)) == 7
    with pytest.raises(LookupError, match="its own"):
        run(main(fails=True))
