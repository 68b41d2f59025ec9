"""Finds the restaurants that ``TOAST_RESTAURANT_GUID=*`` stands for.

Partners can list theirs; of a management group any member can name the others. What both lists know is taken together.
A restaurant is left out only if Toast says that it is deleted or archived: in doubt it is pulled.
"""

from __future__ import annotations

import asyncio
import logging

from toast_assets.errors import ToastError, ToastLoginError, ToastRefusedError
from toast_assets.toast.client import ToastClient
from toast_assets.toast.restaurants import Listed, Restaurant

# Each restaurant has limits of its own, so this only bounds the connections.
_AT_ONCE = 10


async def discover_restaurants(toast: ToastClient, log: logging.Logger) -> list[Restaurant]:
    """All restaurants of these credentials that are neither deleted nor archived, by GUID, with what Toast tells.

    Raises:
        ToastError: a list cannot be had, or there is no restaurant at all.
    """
    member = toast.settings.member_restaurant_guid
    listed = await _partners(toast, required=member is None)
    guids = {entry.guid for entry in listed}
    if member is not None:
        guids |= await _group(toast, member)
    guids -= {entry.guid for entry in listed if entry.deleted}
    if not guids:
        raise ToastError(
            "Toast lists no restaurant for these credentials.",
            hint="Set TOAST_RESTAURANT_GUID to a list of GUIDs, or TOAST_MEMBER_RESTAURANT_GUID to one of the group.",
        )
    found = await _described(toast, sorted(guids))
    archived = [restaurant.guid for restaurant in found if restaurant.archived]
    log.info(
        "Toast lists %d restaurants; left out: %d deleted, %d archived.",
        *(len(found) - len(archived), sum(entry.deleted for entry in listed), len(archived)),
    )
    return [restaurant for restaurant in found if not restaurant.archived]


async def _partners(toast: ToastClient, *, required: bool) -> list[Listed]:
    try:
        listed = await toast.partner_restaurants()
        # A list that is empty for once would end with a week that has no restaurant.
        return listed or await toast.partner_restaurants()
    except ToastRefusedError as error:
        if not required:
            return []
        raise ToastRefusedError(
            f"The restaurants cannot be discovered: {error.message}",
            status=error.status,
            hint="Only partners may list them. Set TOAST_RESTAURANT_GUID to a list of GUIDs, or"
            " TOAST_MEMBER_RESTAURANT_GUID to one restaurant of the group.",
        ) from error


async def _group(toast: ToastClient, member: str) -> set[str]:
    """The members of the management group that ``member`` belongs to, itself included."""
    restaurant = await toast.restaurant(member, essential=True)
    if restaurant.group_guid is None:
        return {member}
    return {member, *await toast.group_members(restaurant.group_guid, member)}


async def _described(toast: ToastClient, guids: list[str]) -> list[Restaurant]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def describe(guid: str) -> Restaurant:
        async with places:
            try:
                return await toast.restaurant(guid)
            except ToastLoginError:
                raise
            except ToastError:
                return Restaurant(guid)

    return list(await asyncio.gather(*(describe(guid) for guid in guids)))
