"""Pictures: small PNGs inside Markdown, the same for the same numbers."""

from __future__ import annotations

import base64

from toast_assets.defs.pictures import heat_map, volume

BUSY = {(day, hour): day * hour for day in range(7) for hour in range(24)}


def test_pictures_are_small_pngs_that_say_which_time_they_show() -> None:
    weeks = [(f"2025-0{number}-01", number * 12_345) for number in range(1, 10)]
    for picture in (heat_map(BUSY), heat_map({}), volume(weeks), volume([("2025-09-15", 0)])):
        text = picture.md_str or ""
        head, _, data = text.partition("base64,")
        assert head.startswith("![Orders by")
        assert base64.b64decode(data.removesuffix(")")).startswith(b"\x89PNG")
        assert len(text) < 60_000
    assert "restaurant-local time" in str(heat_map(BUSY).md_str)


def test_equal_numbers_give_equal_pictures() -> None:
    assert heat_map(BUSY) == heat_map(dict(BUSY))
