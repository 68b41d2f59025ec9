"""Takes over from the guesses where they lead nowhere.

Most of a week's orders may stand within a few milliseconds (an import, a migration, a clock that was set): no page
shows how wide such a crowd is, and following its pages would creep along its edge. Halving finds it within thirty
cuts, wherever it hides. Only the number of requests depends on this, never what is found.
"""

from __future__ import annotations

from dataclasses import dataclass

from toast_assets.toast.page import Window

# A window with that many orders was worth its request; after so many requests without one, the guesses lead nowhere.
_WORTH_IT = 25
_PATIENCE = 8


@dataclass
class _Overfull:
    window: Window
    found: int = 0


class Halving:
    """The overfull windows that are being cut in halves, and what was found in them."""

    def __init__(self) -> None:
        self._overfull: list[_Overfull] = []
        self._in_vain = 0

    def next_window(self, start: int) -> Window | None:
        """What to read from ``start`` on; None where nothing is being halved."""
        if not self._overfull:
            return None
        rest = Window(start, self._overfull[-1].window.end)
        # Where next to nothing was found so far, the rest is overfull as well: that needs no request.
        return rest if self._overfull[-1].found >= _WORTH_IT else first_half(rest)

    def takes_over(self, window: Window) -> bool:
        """Whether the overfull ``window`` is to be halved, for the guesses had their chance."""
        self._in_vain += 1
        if not self._overfull and self._in_vain <= _PATIENCE:
            return False
        self._overfull.append(_Overfull(window))
        return True

    def learn(self, window: Window, found: int) -> None:
        """``window`` was read whole and had so many orders."""
        while self._overfull and self._overfull[-1].window.end <= window.end:
            self._overfull.pop()
        for overfull in self._overfull:
            overfull.found += found
        self._in_vain = 0 if found >= _WORTH_IT else self._in_vain + 1


def first_half(window: Window) -> Window:
    """The first half of ``window``, at least a millisecond."""
    return Window(window.start, window.start + max(1, (window.end - window.start) // 2))
