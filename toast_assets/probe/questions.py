"""What the product assumes about Toast: each assumption in plain words, and what the product does where it fails."""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """What holds where the assumption is confirmed, and what the product does where it is refuted."""

    statement: str
    otherwise: str


_CENSUS = "The census finds the order in its day's list, fetches it by GUID, stores it and delivers it in the same run."
_OUTSIDE = "An order from outside its window is asked for three times, then stored with the evidence outside_window."
_EARLIER = "The census fetches such an order if no week holds it; an order that a week holds stays as it was stored."
_UNUSED = "Nothing changes: the pull does not rely on it."
_LIST_GUIDS = "Name the restaurants in TOAST_RESTAURANT_GUID"

GROUPS: dict[str, dict[str, Question]] = {
    "Windows": {
        "start_inclusive": Question("startDate is inclusive.", _CENSUS),
        "end_exclusive": Question("endDate is exclusive.", f"{_OUTSIDE} It counts once."),
        "milliseconds": Question("The filter honours milliseconds.", _OUTSIDE),
        "filter_time": Question(
            "The filter goes by modifiedDate.",
            f"{_OUTSIDE} Later changes arrive only when that week is pulled again.",
        ),
        "times_in_window": Question(
            "Each order's modifiedDate lies in the window that returned it.",
            f"{_OUTSIDE} The check modified_times_inside_week warns.",
        ),
    },
    "Pages": {
        "page_limit": Question(
            "A page has at most 100 orders.",
            "Nothing changes: the pull asks for 100, and cuts a window that has as many or more.",
        ),
        "page_default": Question("Without pageSize a page has 100 orders.", _UNUSED),
        "last_page_ends": Question(
            "A last page that is not full names no next one.",
            "The pull asks for the next page, and walks the window until two walks agree: it costs requests alone.",
        ),
        "full_page_ends": Question("A full last page names no next one.", _UNUSED),
        "past_the_end": Question(
            "A page past the end is empty.",
            "A repeated last page, a 400 or a 404 ends the pages as well, unless a next page was named.",
        ),
        "unsorted": Question("Pages follow no order that could be relied on.", _UNUSED),
        "stable_pages": Question("A closed window that is asked for again at once gives the same page.", _UNUSED),
    },
    "Limits of a window": {
        "longest_window": Question("A window longer than a month is refused.", _UNUSED),
        "earliest_date": Question("A start before December 2015 is refused.", _UNUSED),
        "open_window": Question("A window that ends in the future is answered.", _UNUSED),
    },
    "Which orders Toast returns": {
        "deleted_orders": Question("ordersBulk returns deleted orders.", _EARLIER),
        "voided_orders": Question("ordersBulk returns voided orders.", _EARLIER),
        "test_orders": Question("ordersBulk returns orders that were created in test mode.", _CENSUS),
        "business_date": Question(
            "Lists by businessDate go by the order's own businessDate.",
            "Nothing is lost: the census compares each listed GUID with all weeks, whatever day the list means.",
        ),
        "order_list": Question("ordersBulk returns every order that the order list names.", _CENSUS),
        "payment_list": Question(
            "The orders hold every payment that the payment list names.",
            "The census fetches the payment's order by GUID, stores it and delivers it in the same run.",
        ),
    },
    "Limits and access": {
        "limit_headers": Question(
            "Replies carry the limit headers.",
            "The pull keeps Toast's documented limits by its own count, and pauses after each 429.",
        ),
        "reset_in_seconds": Question(
            "The reset is an absolute time in seconds.",
            "Nothing changes: a larger number is read as milliseconds.",
        ),
        "partner_list": Question(
            "This client may list its restaurants.",
            f"{_LIST_GUIDS}; with *, the pull asks for the group of TOAST_MEMBER_RESTAURANT_GUID.",
        ),
        "group_list": Question(
            "This client may list the management group.",
            f"{_LIST_GUIDS}; * still works for a client that may list its restaurants.",
        ),
        "guests": Question(
            "Takeout and delivery orders name guests.",
            "Orders are delivered without guests, and guests_scope_present warns: ask Toast for guest.pi:read.",
        ),
        "same_token": Question(
            "A second login brings the same token.",
            "Nothing changes: a run logs in once, and again only if Toast rejects its token.",
        ),
    },
    "Orders and replies": {
        "total_amount": Question(
            "One formula gives totalAmount.",
            "Sales come from items and charges; totalAmount only tells the feeds if a voided check had been paid.",
        ),
        "check_amount": Question(
            "The amount of a check is the sum of its items and charges.",
            "Sales stay the sum of items and charges; net_sales_agree_with_toast warns and names orders.",
        ),
        "no_backdated_orders": Question(
            "No order enters a window that has closed.",
            "The second look reads the week again after 72 hours, and the census fetches what no week holds.",
        ),
        "settlement": Question(
            "Settlement leaves modifiedDate as it is.",
            "A settled order comes in the week of its settlement, and is delivered as a newer version.",
        ),
        "date_formats": Question(
            "All times have three fraction digits and an offset (+0000 or Z).",
            "Each ISO-8601 time with an offset is read; raw orders and exports keep Toast's text.",
        ),
        "gzip": Question(
            "Replies are packed only where it was asked for.", "Nothing changes: each packed reply is unpacked."
        ),
        "names": Question(
            "The configuration names what orders refer to.",
            "Tables show the GUID without a name, and names_known counts such GUIDs.",
        ),
    },
}
"""All assumptions by what they are about, in the order in which the report has them."""

QUESTIONS: dict[str, Question] = {key: one for some in GROUPS.values() for key, one in some.items()}
