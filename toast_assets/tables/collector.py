"""Python's cycle collector, out of the way while a batch of orders is converted."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collection of cycles within the block.

    A batch is a hundred thousand objects without a single cycle, which are freed by their reference counts when it
    ends; the collector would look at them, and at all that the process has imported, over and over: a third of the
    time. Blocks may nest and run in several threads: only the one that paused the collector starts it again.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
