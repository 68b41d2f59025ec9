"""Orders as the export and its hash hold them, many at once.

Orders are many and small: what is done to each in Python holds up every other thread. Arrow does it for a whole batch.
"""

from __future__ import annotations

from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.orders.raw import last_field, mentions_restaurant, with_restaurant

# The end of an order that Arrow cannot extend by cutting off the last byte.
_SPACES = b" \t\n\r"
_TO_THE_END = (1 << 63) - 1


class OrderLines:
    """A batch of orders as ``with_restaurant`` gives them; ``bodies`` are as Toast sent them.

    ``may_name_restaurant`` false saves looking whether one of them says which restaurant it is of.
    """

    def __init__(self, bodies: pa.BinaryArray, restaurant_guid: str, *, may_name_restaurant: bool = True) -> None:
        self._bodies = bodies
        self._restaurant_guid = restaurant_guid
        self._plain = _all_end_plainly(bodies) and not (may_name_restaurant and mentions_restaurant(_bytes_of(bodies)))

    def __len__(self) -> int:
        return len(self._bodies)

    def ended_by(self, separator: bytes) -> memoryview:
        """All orders in one piece, each followed by ``separator``."""
        if self._plain:
            end = last_field(self._restaurant_guid) + separator
            return _bytes_of(pc.binary_replace_slice(self._bodies, start=-1, stop=_TO_THE_END, replacement=end))
        orders = (with_restaurant(body, self._restaurant_guid) for body in self._bodies.to_pylist())
        return memoryview(b"".join(order + separator for order in orders))


def _all_end_plainly(bodies: pa.BinaryArray) -> bool:
    """Whether each is an object with nothing between its last field and its last brace."""
    # Arrow could say so, too, but after each of its calls a thread waits for the interpreter.
    data = _bytes_of(bodies)
    endings = {bytes(data[end - 2 : end]) for end in accumulate(pc.binary_length(bodies).to_pylist())}
    return all(pair[1:] == b"}" and pair[:1] not in _SPACES for pair in endings)


def _bytes_of(values: pa.BinaryArray) -> memoryview:
    _, ends, data = values.buffers()
    if not len(values) or data is None:
        return memoryview(b"")
    offsets = memoryview(ends).cast("i")
    return memoryview(data)[offsets[values.offset] : offsets[values.offset + len(values)]]
