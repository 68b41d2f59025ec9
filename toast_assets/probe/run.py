"""Puts all questions to one to three restaurants of an account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Unpack

from toast_assets.errors import SettingsError, ToastError, ToastLoginError, ToastRefusedError
from toast_assets.http.service import ClientOptions
from toast_assets.orders.names import Name, Names
from toast_assets.probe import access, filters, lists, pages
from toast_assets.probe.answers import Answer, unseen
from toast_assets.probe.asking import Asker, in_words
from toast_assets.probe.bodies import BODIES
from toast_assets.probe.observed import Observed
from toast_assets.probe.reading import Scene, read
from toast_assets.probe.report import Probed
from toast_assets.toast.configuration import read_names
from toast_assets.toast.known_logins import note_login
from toast_assets.toast.restaurants import Restaurant
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week, WeekCalendar

MOST_RESTAURANTS, MOST_WEEKS = 3, 2
# Restaurants to look at where Toast lists archived ones, which are passed over.
_MOST_LISTED = 10

Question = Callable[..., Answer | Awaitable[Answer]]


def _by_key(*questions: Question) -> dict[str, Question]:
    return {question.__name__: question for question in questions}


# In this sequence: what one question finds is what others go by. The lists take many requests, so they come last.
_ABOUT_ORDERS: dict[str, Question] = {
    **_by_key(filters.filter_time, filters.milliseconds, filters.start_inclusive, filters.end_exclusive),
    **_by_key(filters.times_in_window, pages.stable_pages, pages.unsorted, pages.last_page_ends, pages.full_page_ends),
    **_by_key(pages.past_the_end, pages.page_limit, pages.page_default, lists.order_list),
    **{key: partial(lists.flagged, flag=flag) for key, flag in lists.FLAGS.items()},
    **_by_key(lists.no_backdated_orders, lists.payment_list, lists.business_date),
}
_ABOUT_OTHERS: dict[str, Question] = {
    **_by_key(pages.earliest_date, pages.longest_window, pages.open_window),
    **_by_key(access.limit_headers, access.reset_in_seconds, access.group_list, access.gzip),
}


async def probe(
    settings: ToastSettings,
    calendar: WeekCalendar,
    *,
    restaurants: Sequence[str] = (),
    weeks: Sequence[str] = (),
    **options: Unpack[ClientOptions],
) -> tuple[list[Probed], list[str]]:
    """The answers of one to three restaurants (those given, else the first that the settings name or Toast lists), and
    the weeks that their orders are of: at each the first of ``weeks`` (keys) that has some, by default of the last two
    that have closed. ``options`` are those of ``ToastClient``.

    Raises:
        ToastLoginError: Toast refuses the credentials.
        SettingsError, WeekError: there are too many restaurants or weeks, or a week has not closed.
        ToastError: the restaurants cannot be discovered.
    """
    if len(restaurants) > MOST_RESTAURANTS or len(weeks) > MOST_WEEKS:
        raise SettingsError([f"A probe asks for at most {MOST_RESTAURANTS} restaurants and {MOST_WEEKS} weeks."])
    async with Asker(settings, **options) as asker:
        now = datetime.fromtimestamp(asker.now_ms() / 1000, UTC)
        chosen = [calendar.closed_week(key, now) for key in weeks] or _last_weeks(calendar, now)
        note_login(settings)
        await asker.login()
        scenes = [await _probe(asker, details, chosen) for details in await _restaurants(asker, restaurants)]
        shared = {"partner_list": await _answer(access.partner_list, asker)}
        shared["same_token"] = await _answer(access.same_token, asker)
    probed = [Probed(scene.answers | shared, asker.requests[scene.guid]) for scene in scenes]
    return probed, sorted({scene.week.key for scene in scenes})


def _last_weeks(calendar: WeekCalendar, now: datetime) -> list[Week]:
    last = calendar.last_closed(now)
    if last is None:
        raise SettingsError(["TOAST_START_DATE: no week has closed since."])
    before = calendar.last_closed(last.end + calendar.settling - timedelta(seconds=1))
    return [last, before] if before else [last]


async def _restaurants(asker: Asker, given: Sequence[str]) -> list[Restaurant]:
    settings = asker.settings
    discovers = settings.discovers and not given
    guids = given or settings.restaurant_guids[:MOST_RESTAURANTS]
    if discovers:
        try:
            guids = [guid for guid, is_deleted in (await asker.partner_restaurants()).items() if not is_deleted]
        except ToastRefusedError:
            if settings.member_restaurant_guid is None:
                raise
            guids = [settings.member_restaurant_guid]
    found: list[Restaurant] = []
    for guid in guids[:_MOST_LISTED]:
        if len(found) == MOST_RESTAURANTS:
            break
        try:
            details = await asker.restaurant(guid)
        except ToastLoginError:
            raise
        except ToastError:
            details = Restaurant(guid)
        if not (discovers and details.archived):
            found.append(details)
    if not found:
        text, hint = "Toast lists no open restaurant for these credentials.", "Name one with --restaurant."
        raise ToastError(text, hint=hint, code="TOAST-DISCOVERY")
    return found


async def _probe(asker: Asker, details: Restaurant, weeks: Sequence[Week]) -> Scene:
    scene = await read(asker, details, weeks)
    answers = scene.answers
    if scene.observed.orders:
        await _read_names(scene)
        for key, question in _ABOUT_ORDERS.items():
            answers[key] = await _answer(question, scene)
        for key, of_bodies in BODIES.items():
            answers[key] = await _answer(of_bodies, scene.observed)
    else:
        answers |= dict.fromkeys((*_ABOUT_ORDERS, *BODIES), unseen(scene.problem))
    for key, question in _ABOUT_OTHERS.items():
        answers[key] = await _answer(question, scene)
    return scene


async def _read_names(scene: Scene) -> None:
    entities, problem = await read_names(scene.asker, scene.guid)
    scene.observed.names = Names({(one.kind, one.guid.lower()): Name(one.name, one.behavior) for one in entities})
    scene.observed.names_problem = in_words(problem) if problem else None


async def _answer(question: Question, about: Scene | Observed | Asker) -> Answer:
    """Whatever one question meets ends that question only."""
    try:
        found = question(about)
        return found if isinstance(found, Answer) else await found
    except ToastLoginError:
        raise
    # Also what an order of an unexpected form brings about.
    except Exception as error:  # noqa: BLE001
        return unseen(in_words(error))
