"""Two thousand orders that are edited over four weeks, which are pulled and delivered in twenty random sequences: at
the end Amperity holds the newest version of each, and nothing of the earlier ones (docs/delivery-rules.md).

Every fourth world is delivered by streams alone, every fourth in both ways. Files are loaded by three Amperities: one
loads only the files of the week that was just delivered, one all files there are, in any sequence, after each delivery,
and one is new at the end and loads all files once. To see one world: ``pytest -k "sequence and 7-"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.deliver import check_delivery
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.export.write import export_week
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data import oracle
from toast_assets_tests.support.data.invented import Json
from toast_assets_tests.support.data.right_rows import item_faults, transaction_faults
from toast_assets_tests.support.data.stories import RESTAURANTS, WEEKS, Story, World, explain, make_world
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.services.loading_amperity import LoadingAmperity, decoded, feed_keys, file_rows
from toast_assets_tests.support.stores.deliveries import CUSTOMERS, ITEMS, accepted, deliver
from toast_assets_tests.support.stores.names import entities, some_names, store_names
from toast_assets_tests.support.stores.pulls import LOG
from toast_assets_tests.support.stores.stored_weeks import store_week

WORLDS = 20
FILES, STREAMS = "files", "streams"
# And the number of stories: a record of a stream takes a thousand times as long as a row of a file.
WAYS = (((FILES,), 150), ((FILES,), 150), ((FILES, STREAMS), 50), ((STREAMS,), 50))
TRANSACTIONS = "is-toast-transactions"
ROW_STREAMS: dict[str, str] = {"transactions": TRANSACTIONS, "order_items": ITEMS, "customers": CUSTOMERS}
VARIABLES: dict[str, Any] = {f"AMPERITY_{feed.upper()}_STREAM_ID": stream_id for feed, stream_id in ROW_STREAMS.items()}
_MOST_SHOWN = 3


@dataclass
class Files:
    """What the Amperities hold that load files."""

    store: OrderStore
    chance: Random
    by_week: LoadingAmperity = field(default_factory=LoadingAmperity)
    by_all: LoadingAmperity = field(default_factory=LoadingAmperity)
    read: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    """The files as they are now, by feed and key."""

    def delivered(self, week: Week) -> None:
        """The week's files were written, and are loaded."""
        write_feeds(week, self.store, "Example Brand", Redaction(), LOG)
        for feed, key in feed_keys(self.store, week):
            self.read[feed, key] = file_rows(self.store, key)
            self.by_week.load(feed, self.read[feed, key])
        self._load_all(self.by_all)

    def _load_all(self, amperity: LoadingAmperity) -> None:
        for feed, key in self.chance.sample(sorted(self.read), len(self.read)):
            amperity.load(feed, self.read[feed, key])

    def loaded(self) -> Iterator[tuple[str, LoadingAmperity]]:
        """All Amperities at the end, by how they loaded the files."""
        new = LoadingAmperity()
        self._load_all(new)
        yield "the files of each delivered week", self.by_week
        yield "all files after each delivery", self.by_all
        yield "all files once at the end", new


def streamed(sandbox: Sandbox) -> LoadingAmperity:
    """What Amperity holds of the records that it accepted, in their sequence."""
    amperity = LoadingAmperity()
    for feed, stream_id in ROW_STREAMS.items():
        amperity.load(feed, decoded(record.body for record in accepted(sandbox, stream_id)))
    return amperity


def faults(amperity: LoadingAmperity, story: Story, names: oracle.Names) -> list[str]:
    """What is wrong with the rows of a story's orders."""
    transactions, items = (amperity.by_order(feed) for feed in ("transactions", "order_items"))
    found: list[str] = []
    for guid, order in story.newest.items():
        found += transaction_faults(transactions[guid], order, names)
        found += item_faults(items[guid], order, names)
        if any(row["fk_customer"] not in {None, *amperity.tables["customers"]} for row in transactions[guid]):
            found.append(f"the customer {oracle.customer(order)} has no row")
    return found


def report(world: World, found: dict[int, list[str]]) -> str:
    """How many stories ended wrongly, and all of the first few."""
    lines = [f"{len(found)} of {len(world.stories)} stories are wrong."]
    for number, wrong in list(found.items())[:_MOST_SHOWN]:
        story = world.stories[number]
        lines += [
            f"\nStory {number}, {story.restaurant}:",
            *explain(story, world.steps),
            *(f"  * {one}" for one in wrong),
        ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "number", range(WORLDS), ids=lambda number: f"{number}-{'+'.join(WAYS[number % len(WAYS)][0])}"
)
async def test_amperity_ends_with_the_newest_version_of_every_order_whatever_the_sequence(
    number: int, start_sandbox: Callable[..., Any]
) -> None:
    ways, stories = WAYS[number % len(WAYS)]
    world = make_world(number, stories)
    sandbox = start_sandbox(streams=("is-toast-orders", *ROW_STREAMS.values()))
    store = order_store(sandbox)
    names = some_names(version.order for story in world.stories for version in story.versions)
    for restaurant in RESTAURANTS:
        store_names(store, restaurant, *entities(names))
    files = Files(store, Random(number))
    for step in world.steps:
        week = WEEKS[step.week]
        if step.what == "pull":
            store_week(store, week, world.stored(step))
            continue
        if FILES in ways:
            files.delivered(week)
        if STREAMS in ways:
            export_week(week, store, LOG)
            check_delivery(await deliver(sandbox, week, **VARIABLES), 0.0)
    amperities = dict(files.loaded()) if FILES in ways else {}
    if STREAMS in ways:
        amperities["the streams"] = streamed(sandbox)
    for name, amperity in amperities.items():
        wrong = {place: faults(amperity, story, names) for place, story in enumerate(world.stories)}
        wrong = {place: one for place, one in wrong.items() if one}
        assert not wrong, f"World {number}, {name}: {report(world, wrong)}"
