"""Finds the restaurants that ``TOAST_RESTAURANT_GUID=*`` stands for.

A partner can list its restaurants, and any member of a management group the others; both lists are joined. A restaurant
is deleted or archived only if Toast says so.
"""

from __future__ import annotations

import asyncio
import logging

from toast_assets.errors import ToastError, ToastLoginError, ToastRefusedError
from toast_assets.toast.client import ToastClient
from toast_assets.toast.restaurants import Restaurant

# Each restaurant has limits of its own, so this only bounds the connections.
_AT_ONCE = 10


async def discover_restaurants(toast: ToastClient, log: logging.Logger) -> list[Restaurant]:
    """All restaurants of these credentials that are not deleted, by GUID, with their details, archived ones included.
    Raises ToastError where a list cannot be had, or there is no restaurant at all."""
    member = toast.settings.member_restaurant_guid
    try:
        # One wrongly empty list must not end in a week without restaurants.
        listed = await toast.partner_restaurants() or await toast.partner_restaurants()
    except ToastRefusedError as error:
        if member is None:
            raise ToastRefusedError(
                f"The restaurants cannot be discovered: {error.message}",
                status=error.status,
                hint="Only partners may list them. Set TOAST_RESTAURANT_GUID to a list of GUIDs, or"
                " TOAST_MEMBER_RESTAURANT_GUID to one restaurant of the group.",
                code="TOAST-DISCOVERY",
            ) from error
        listed = {}
    deleted = {guid for guid, is_deleted in listed.items() if is_deleted}
    guids = set(listed)
    if member is not None:
        guids.add(member)
        try:
            if group := (await toast.restaurant(member, essential=True)).management_group_guid:
                guids |= {*await toast.group_members(group, member)}
        except ToastRefusedError as error:
            if not listed:
                raise
            log.warning("Only the partner's list of restaurants is used: %s", error)
    guids -= deleted
    if not guids:
        raise ToastError(
            "Toast lists no restaurant for these credentials.",
            hint="Set TOAST_RESTAURANT_GUID to a list of GUIDs, or TOAST_MEMBER_RESTAURANT_GUID to one of the group.",
            code="TOAST-DISCOVERY",
        )
    slots = asyncio.Semaphore(_AT_ONCE)

    async def describe(guid: str) -> Restaurant:
        async with slots:
            try:
                return await toast.restaurant(guid)
            except ToastLoginError:
                raise
            except ToastError:
                return Restaurant(guid)

    found = await asyncio.gather(*map(describe, sorted(guids)))
    archived = sum(bool(restaurant.archived) for restaurant in found)
    log.info(
        "Toast lists %d restaurants; left out: %d deleted, %d archived.",
        *(len(found) - archived, len(deleted), archived),
    )
    return found
