"""What these credentials may ask for, and what Toast's replies carry besides orders."""

from __future__ import annotations

import re

from toast_assets.errors import ToastError
from toast_assets.http.bodies import PACKED
from toast_assets.probe.answers import Answer, answer, unseen
from toast_assets.probe.asking import Asker
from toast_assets.probe.reading import Scene
from toast_assets.toast.known_logins import note_login
from toast_assets.toast.restaurants import PARTNERS_PATH

_REMAINING, _RESET = "X-Toast-RateLimit-Remaining", "X-Toast-RateLimit-Reset"
_DAY_SECONDS = 86_400.0


async def partner_list(asker: Asker) -> Answer:
    return _allowed((await asker.reply(PARTNERS_PATH)).status_code)


async def same_token(asker: Asker) -> Answer:
    """Logs in for the second time."""
    first = await asker.login()
    if asker.logins > 1:
        return unseen("the first token ended while the probe ran")
    note_login(asker.settings)
    try:
        second = await asker.log_in_again()
    except ToastError:
        # The first login was good, so this says nothing of the credentials.
        return unseen("the second login failed")
    return answer(
        first == second, "both logins brought the same token" if first == second else "two logins brought two tokens"
    )


async def group_list(scene: Scene) -> Answer:
    group = scene.observed.details.management_group_guid
    if not group:
        return unseen("the restaurant's details name no management group")
    return _allowed((await scene.asker.reply(f"/restaurants/v1/groups/{group}/restaurants", scene.guid)).status_code)


def _allowed(status: int) -> Answer:
    return answer(status == 200 if status in (200, 401, 403) else None, f"Toast answered {status}")


def limit_headers(scene: Scene) -> Answer:
    replies = scene.asker.order_headers[scene.guid]
    carrying = sum(_REMAINING in headers and _RESET in headers for headers in replies)
    return answer(carrying > 0 if replies else None, f"{carrying} of {len(replies)} replies of ordersBulk carry them")


def reset_in_seconds(scene: Scene) -> Answer:
    values = [headers.get(_RESET, "") for headers in scene.asker.order_headers[scene.guid]]
    resets = [int(number) for value in values for number in re.findall(r"[0-9]{1,19}", value)]
    near = sum(abs(reset - scene.asker.now_ms() / 1000) < _DAY_SECONDS for reset in resets)
    reason = f"{near} of {len(resets)} resets are Unix seconds of about now"
    return answer(near == len(resets) if resets else None, reason)


async def gzip(scene: Scene) -> Answer:
    packed, path = scene.asker.packed, f"/restaurants/v1/restaurants/{scene.guid}"
    reply = await scene.asker.reply(path, scene.guid, headers={"Accept-Encoding": "identity"})
    if reply.status_code != 200:
        return unseen(f"Toast answered {reply.status_code}")
    is_packed = bool(reply.extensions.get(PACKED))
    others = f"of the replies to gzip, {packed} were packed"
    return answer(not is_packed, f"a reply to identity was {'' if is_packed else 'not '}packed; {others}")
