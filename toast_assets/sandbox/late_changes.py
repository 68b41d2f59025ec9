"""What happens to a week's orders in the week after: late tips, voids, refunds, checks that move to another order.

How many orders change is a judgement. What changes in them follows Toast's orders API [doc], and the sums of a changed
order agree again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from random import Random
from typing import TYPE_CHECKING

from toast_assets.sandbox.order_builder import MENU, Json, Parts, decode, encode

if TYPE_CHECKING:
    from toast_assets.sandbox.orders import StoredOrder

_SHARE = 0.03
# A restaurant with fewer orders is left alone; at others two orders change at least.
_FEWEST = 20


def late_versions(
    rng: Random, orders: Sequence[StoredOrder], restaurant_guid: str, window: tuple[int, int], utc_offset: int
) -> Iterator[tuple[str, int, bytes]]:
    """Newer versions of some of a week's ``orders``: the order's GUID, when it was modified, and its JSON.

    Times are in milliseconds since 1970 (UTC) and lie in ``window``, [start, end). ``utc_offset`` is the restaurant's,
    in hours. Equal chance and equal orders give equal versions.
    """
    waiting = rng.sample(orders, len(orders))
    kinds = cycle((NewerVersion.tip, NewerVersion.void, NewerVersion.refund, NewerVersion.move))
    # Where only few orders change, every kind occurs after some weeks.
    next(islice(kinds, rng.randrange(4), None))
    for _ in range(max(2, round(_SHARE * len(orders))) if len(orders) >= _FEWEST else 0):
        modified_ms = rng.randrange(*window)
        place = (restaurant_guid, modified_ms, utc_offset)
        tries = (
            change(version, waiting)
            for change in islice(kinds, 4)
            for each in waiting
            if (version := NewerVersion(each, place)).ordinary
        )
        changed = {version.older.guid: encode(version.order) for version in next(filter(None, tries), ())}
        yield from ((guid, modified_ms, raw) for guid, raw in changed.items())
        waiting = [each for each in waiting if each.guid not in changed]


class NewerVersion(Parts):
    """A newer version of an order. Each kind of change returns the versions that it changed, none if it cannot.

    ``order`` is the order's content, changed in place. ``place`` is its restaurant, the time of the change in
    milliseconds since 1970 (UTC), and the restaurant's offset from UTC in hours.
    """

    def __init__(self, older: StoredOrder, place: tuple[str, int, int]) -> None:
        super().__init__(Random(f"{older.guid}:{place[1]}"), older.guid[-12:], *place)
        self.older, self._place = older, place
        self.order: Json = decode(older.json)
        self.suffix = "Z" if self.order["modifiedDate"].endswith("Z") else "+0000"
        self._modified = {"modifiedDate": self._time(0)}
        self.order |= self._modified

    @property
    def ordinary(self) -> bool:
        """Whether the order counts, is paid, and nothing was voided or refunded."""
        checks = self.order["checks"]
        payments, lines = ([each for check in checks for each in check[name]] for name in ("payments", "selections"))
        return not (
            any(self.order[flag] for flag in ("voided", "deleted", "createdInTestMode", "excessFood"))
            or any(check["voided"] or check["paymentStatus"] != "CLOSED" for check in checks)
            or any(each["paymentStatus"] == "VOIDED" or each["refund"] or not each["amount"] for each in payments)
            or any(line["refundDetails"] for line in lines)
        )

    def tip(self, _others: Sequence[StoredOrder]) -> list[NewerVersion]:
        """The tip on a slip is corrected; only cards have slips."""
        check = self.order["checks"][0]
        payment = check["payments"][0]
        check |= self._modified
        payment["tipAmount"] += self.rng.randrange(1, 6)
        return [self] if payment["type"] == "CREDIT" else []

    def void(self, _others: Sequence[StoredOrder]) -> list[NewerVersion]:
        """The order is voided on all levels, so that nothing was to be paid."""
        void = self._void_fields(voided=True)
        reason = self._reference("VoidReason", self.rng.choice(MENU["void reasons"]))
        nothing = dict.fromkeys(("amount", "taxAmount", "totalAmount"), 0)
        self.order |= void
        for check in self.order["checks"]:
            check.update(void | self._modified | nothing | {"appliedDiscounts": [], "appliedServiceCharges": []})
            for line in check["selections"]:
                line.update(void | self._modified | {"voidReason": reason})
            for payment in check["payments"]:
                payment.update(paymentStatus="VOIDED", voidInfo=self._void_info())
        return [self]

    def refund(self, _others: Sequence[StoredOrder]) -> list[NewerVersion]:
        """All or half of a payment is given back; the check's totals stay [doc]."""
        check = self.order["checks"][0]
        payment = check["payments"][0]
        check |= self._modified
        cents, status = int(payment["amount"] * 100), self.rng.choice(("FULL", "PARTIAL"))
        refund = self._refund(cents if status == "FULL" else cents // 2)
        payment |= {"refundStatus": status, "refund": refund}
        return [self]

    def move(self, others: Sequence[StoredOrder]) -> list[NewerVersion]:
        """The guests sit down at another table: their check moves to its order, and theirs is deleted [doc]."""
        checks, date = self.order["checks"], self.order["businessDate"]
        if not self.order["table"] or len(checks) > 1:
            return []
        # Most likely the same day's: those of about the same time.
        near = sorted(others, key=lambda other: abs(other.modified_ms - self.older.modified_ms))
        versions = (NewerVersion(each, self._place) for each in near if each is not self.older)
        for target in versions:
            if target.ordinary and target.order["table"] and target.order["businessDate"] == date:
                there = target.order["checks"]
                there.append(checks[0] | self._modified | {"displayNumber": str(len(there) + 1)})
                target.order["numberOfGuests"] += self.order["numberOfGuests"]
                self.order |= {"checks": [], "deleted": True, "deletedDate": self._time(0)}
                return [self, target]
        return []
