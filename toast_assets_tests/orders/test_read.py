"""Reading orders in several threads, as feeds, tables and checks do."""

from __future__ import annotations

import subprocess
import sys

import pytest

# msgspec builds what it knows of a type when the type is first decoded, and does not expect two threads at that moment.
FIRST_ORDERS = """
import sys, threading
from toast_assets.orders.read import decode_order
from toast_assets_tests.support.data.invented import encode, order
bodies = encode(*(order(checks=2) for _ in range(20)))
together = threading.Barrier(4)
def read():
    together.wait()
    for body in bodies: decode_order(body)
# As often as a loaded machine may switch between them.
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("attempt", range(5))
def test_threads_that_read_the_first_orders_of_a_process_at_once_do_not_end_it(attempt: int) -> None:
    command = [sys.executable, "-X", "faulthandler", "-c", FIRST_ORDERS]
    done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - this package's own code
    assert done.returncode == 0, (attempt, done.stderr.decode()[:400])
