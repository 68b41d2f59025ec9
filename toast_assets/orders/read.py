"""Raw orders in, typed orders out, and what becomes of a record that cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from toast_assets.orders.depth import shallow
from toast_assets.orders.lenient import UnreadableOrderError
from toast_assets.orders.model import Order, decode_order
from toast_assets.orders.raw import readable


@dataclass(frozen=True)
class RawOrders:
    """A small batch of one restaurant's orders, each the bytes of one JSON object as Toast sent it.

    A few hundred orders make a good batch: conversion works by column. ``timezone`` is the restaurant's IANA name,
    ``currency`` its ISO code; Toast has both in the restaurant's ``general`` record, not in the order.
    """

    restaurant_guid: str
    orders: Sequence[bytes]
    timezone: str | None = None
    currency: str | None = None


class Reason(StrEnum):
    """Why a record was rejected."""

    UNREADABLE = "unreadable"
    """Not JSON, or a field that is needed cannot be read: an amount, a quantity, a time, a flag, a GUID."""
    NO_KEY = "no_key"
    """The record has no GUID, so that nothing could ever refer to it."""
    UNREPRESENTABLE = "unrepresentable"
    """A value does not fit the declared type: a date that is none, an amount beyond 14 digits, a missing time."""
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    """The restaurant's time zone is missing or not an IANA name, so that no local time can be told."""


@dataclass(frozen=True)
class Rejection:
    """One record that was left out, while the rest went on. ``detail`` never holds a guest's data."""

    restaurant_guid: str
    order_guid: str | None
    reason: Reason
    detail: str


@dataclass(frozen=True)
class ReadOrders:
    """The readable orders of a batch, a rejection for each of the others, and how often which optional field became
    null because it had an unexpected type."""

    orders: list[Order]
    rejections: list[Rejection]
    nulled: Counter[str]


class _Identity(msgspec.Struct):
    guid: str | None = None


def read(batch: RawOrders) -> ReadOrders:
    """The orders of ``batch`` as types."""
    found = ReadOrders([], [], Counter())
    for data in batch.orders:
        noted: list[str] = []
        try:
            order = decode_order(data, noted)
        except UnreadableOrderError as error:
            found.rejections.append(Rejection(batch.restaurant_guid, _guid(data), Reason.UNREADABLE, str(error)))
            continue
        if order.guid:
            found.orders.append(order)
            found.nulled.update(noted)
        else:
            found.rejections.append(Rejection(batch.restaurant_guid, None, Reason.NO_KEY, "the order has no guid"))
    return found


def _guid(data: bytes) -> str | None:
    try:
        return msgspec.json.decode(shallow(readable(data)), type=_Identity).guid
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
