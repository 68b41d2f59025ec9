"""Whether a week arrived: what the sandbox's Toast holds, what the bucket holds, what its Amperity accepted."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass

import boto3
import msgspec
from rich.console import Console
from rich.table import Table

from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Restaurant, Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.layout import Layout
from toast_assets.week import Week


class _Order(msgspec.Struct):
    guid: str


class _Export(msgspec.Struct):
    orders: list[_Order]


@dataclass(frozen=True)
class RestaurantWeek:
    """One restaurant's orders at the three places, by their GUIDs; ``records`` are those of Amperity, with repeats."""

    name: str
    at_toast: frozenset[str]
    in_bucket: frozenset[str]
    records: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, int, int]:
        """At Toast, in the bucket, at Amperity."""
        return len(self.at_toast), len(self.in_bucket), len(self.records)

    @property
    def agrees(self) -> bool:
        """Whether the same orders are at all three places, each exactly once."""
        same = self.at_toast == self.in_bucket == frozenset(self.records)
        return same and len(self.records) == len(self.at_toast)


@dataclass(frozen=True)
class StoredObject:
    """One object of the bucket: its key, its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True)
class SentRecords:
    """What became of the records at Amperity, by its own books; ``lost`` went to a stream that does not exist."""

    accepted: int
    refused: int
    lost: int


@dataclass(frozen=True)
class Report:
    """One week at all three places."""

    week: Week
    bucket: str
    restaurants: Sequence[RestaurantWeek]
    objects: Sequence[StoredObject]
    sent: SentRecords

    def check(self) -> None:
        """Make sure that every order arrived, and once.

        Raises:
            ToastAssetsError: naming the restaurants whose counts do not agree.
        """
        apart = [each for each in self.restaurants if not each.agrees]
        if not apart:
            return
        listed = "; ".join(
            "{}: {} at Toast, {} in S3, {} at Amperity".format(each.name, *each.counts) for each in apart
        )
        raise ToastAssetsError(f"The counts of week {self.week.key} do not agree – {listed}.")

    def show(self, console: Console) -> None:
        """Print the counts and the bucket's objects."""
        table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
        sums = [sum(counts) for counts in zip(*(each.counts for each in self.restaurants), strict=True)]
        table.add_column("Orders of the week", "all restaurants")
        for head, total in zip(("at Toast", "in S3", "accepted by Amperity"), sums, strict=True):
            table.add_column(head, f"{total:,}", justify="right")
        table.add_column("")
        for each in self.restaurants:
            mark = "[green]✓[/]" if each.agrees else "[red]✗ they differ[/]"
            table.add_row(each.name, *(f"{count:,}" for count in each.counts), mark)
        console.print()
        console.print(table)
        sent = f"{self.sent.accepted:,} records accepted, {self.sent.refused:,} refused, {self.sent.lost:,} lost"
        console.print(f"\n[dim]Amperity's own books:[/] {sent}")
        console.print(f"\n[dim]Objects in[/] s3://{self.bucket}", soft_wrap=True)
        for stored in self.objects:
            console.print(f"{stored.size:>10,} B  {stored.key}", soft_wrap=True, markup=False)


def take_stock(sandbox: Sandbox, week: Week) -> Report:
    """Count a week's orders at the sandbox's Toast, in its bucket and at its Amperity, each by its own books."""
    bucket = _bucket(sandbox)
    restaurants = [_restaurant_week(sandbox, bucket, week, each) for each in sandbox.config.restaurants if each.live]
    objects = [StoredObject(key, info.size) for key in bucket.keys("") if (info := bucket.info(key))]
    amperity = sandbox.amperity
    sent = SentRecords(len(amperity.accepted), len(amperity.refused), len(amperity.dropped))
    return Report(week, bucket.name, restaurants, objects, sent)


def _restaurant_week(sandbox: Sandbox, bucket: Bucket, week: Week, restaurant: Restaurant) -> RestaurantWeek:
    guid = restaurant.guid
    stored = bucket.read(Layout(sandbox.config.prefix).export(week, guid))
    exported = msgspec.json.decode(gzip.decompress(stored[0]), type=_Export).orders if stored else []
    accepted = sandbox.amperity.of_stream(sandbox.config.streams[0])
    return RestaurantWeek(
        restaurant.name,
        frozenset(order.guid for order in sandbox.toast.orders[guid].between(week.start, week.end)),
        frozenset(order.guid for order in exported),
        tuple(record.guid or "" for record in accepted if record.restaurant == guid),
    )


def _bucket(sandbox: Sandbox) -> Bucket:
    environment = sandbox.environment()
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    return Bucket(client, sandbox.bucket)
