"""A batch of orders in one piece is what every single order would be."""

from __future__ import annotations

import pyarrow as pa
import pytest

from toast_assets.orders.lines import OrderLines
from toast_assets.orders.raw import with_restaurant

PLAIN = [b'{"guid":"a"}', b'{"guid":"b","checks":[{"guid":"c"}]}']


@pytest.mark.parametrize(
    "bodies",
    [
        [],
        PLAIN,
        [*PLAIN, b'{"guid":"space" }'],
        [*PLAIN, b'{"guid":"lines"\r\n}\n'],
        [*PLAIN, b'{"guid":"tab"\t}'],
        [*PLAIN, b'{"guid":"told","modifiedDate":"","restaurantGuid":"there"}'],
        [*PLAIN, b'{"guid":"nobody","modifiedDate":"","restaurantGuid":null}'],
        [*PLAIN, b'{"guid":"below","modifiedDate":"","checks":[{"restaurantGuid":"there"}]}'],
        [*PLAIN, b'{"guid":"in a text","note":"\\"restaurantGuid\\": \\"there\\""}'],
        ['{"guid":"Zoë"}'.encode()],
    ],
)
@pytest.mark.parametrize("separator", [b"\n", b",\n"])
def test_a_batch_is_its_orders_one_after_the_other(bodies: list[bytes], separator: bytes) -> None:
    lines = OrderLines(pa.array(bodies, pa.binary()), "here")
    expected = b"".join(with_restaurant(body, "here") + separator for body in bodies)
    assert (len(lines), bytes(lines.ended_by(separator))) == (len(bodies), expected)


def test_a_part_of_a_batch_is_that_part_alone() -> None:
    batch = pa.array([b'{"restaurantGuid":"before"}', *PLAIN, b'{"guid":"after" }'], pa.binary())
    lines = OrderLines(batch.slice(1, 2), "here")
    assert bytes(lines.ended_by(b"\n")) == b"".join(with_restaurant(body, "here") + b"\n" for body in PLAIN)


@pytest.mark.parametrize("may_name", [True, False])
def test_where_no_order_names_its_restaurant_it_makes_no_difference_to_know_it(may_name: bool) -> None:
    bodies = [*PLAIN, b'{"guid":"space" }', b'{"guid":"below","modifiedDate":"","checks":[{"restaurantGuid":"there"}]}']
    lines = OrderLines(pa.array(bodies, pa.binary()), "here", may_name_restaurant=may_name)
    assert bytes(lines.ended_by(b"\n")) == b"".join(with_restaurant(body, "here") + b"\n" for body in bodies)
