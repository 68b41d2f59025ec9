"""A run that is stopped before one write, while another run does the whole week, and goes on afterwards."""

from __future__ import annotations

import pytest

from toast_assets.week import Week
from toast_assets_tests.support.faults.world import Stop, World, stopped


@pytest.fixture
def world(week: Week) -> World:
    """One restaurant with twenty orders in the week."""
    world = World(week)
    for number in range(20):
        world.put("r-1", f"o{number}", week.start_ms + number * 4_000_000, numberOfGuests=1)
    return world


def test_a_pull_that_was_stopped_before_its_raw_file_keeps_what_another_one_stored(world: World) -> None:
    world.pull()
    world.put("r-1", "early", world.week.start_ms + 5)
    stop = Stop("put", "/raw/")
    with stopped(lambda: world.pull(hook=stop), stop):
        world.put("r-1", "late", world.week.start_ms + 77)
        world.pull()
    world.pull(refresh=False)
    world.export()
    assert {"early", "late"} <= world.exported("r-1").keys()
