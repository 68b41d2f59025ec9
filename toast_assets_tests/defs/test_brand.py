"""A brand's names and keys, and what is one's own."""

from __future__ import annotations

import dagster as dg
import pytest

from toast_assets.defs.brand import Brand, is_name
from toast_assets.variables import Variables

ONLY = Brand()
A = Brand("brand_a", ("brand_a",), variables=Variables("BRAND_A_"))
B = Brand("brand_b", ("house", "brand_b"))
# As the folder of the tables of a brand without a name.
TOAST = Brand("toast", ("toast",))
ASSETS = ("raw_toast_orders", "toast_orders_s3_export", "amperity_feeds", "amperity_delivery", "toast", "amperity")


def run_of(job_name: str = "__ASSET_JOB", *assets: str, check: str = "") -> dg.DagsterRun:
    keys = frozenset(map(dg.AssetKey.from_user_string, assets))
    checked = {dg.AssetCheckKey(dg.AssetKey.from_user_string(check), "a_check")} if check else None
    return dg.DagsterRun(job_name, asset_selection=keys or None, asset_check_selection=checked)


def test_names_and_keys_of_the_only_brand_are_the_plain_ones_and_those_of_others_have_theirs() -> None:
    assert (ONLY.named("toast"), A.named("toast"), B.named("toast")) == ("toast", "brand_a_toast", "brand_b_toast")
    assert [brand.key("amperity").to_user_string() for brand in (ONLY, A, B)] == [
        *("amperity", "brand_a/amperity", "house/brand_b/amperity")
    ]
    assert [brand.table("orders").to_user_string() for brand in (ONLY, A, B)] == [
        *("toast/orders", "brand_a/toast/orders", "house/brand_b/toast/orders")
    ]


@pytest.mark.parametrize("brand", [ONLY, A, B, TOAST], ids=["the only one", "a", "b", "toast"])
def test_a_brand_owns_its_assets_and_no_others(brand: Brand) -> None:
    own = [brand.key(name) for name in ASSETS] + [brand.table("orders"), brand.table("names")]
    for key in own:
        assert [each for each in (ONLY, A, B, TOAST) if each.owns(key)] == [brand]
    for name in ("orders", "brand_a", "house", "house/raw_toast_orders", "brand_c/raw_toast_orders", "toasts/orders"):
        assert not brand.owns(dg.AssetKey.from_user_string(name))


@pytest.mark.parametrize(
    ("run", "brands"),
    [
        (run_of("weekly_toast_orders"), [ONLY]),
        (run_of("brand_a_weekly_toast_orders"), [A]),
        (run_of("brand_c_weekly_toast_orders"), []),
        (run_of("__ASSET_JOB", "brand_a/toast/orders"), [A]),
        (run_of("__ASSET_JOB", "brand_a/raw_toast_orders", "house/brand_b/amperity_delivery"), [A, B]),
        (run_of("__ASSET_JOB", "sales", "orders"), []),
        (run_of("__ASSET_JOB", check="house/brand_b/raw_toast_orders"), [B]),
        (run_of("__ASSET_JOB", check="sales"), []),
        (run_of("somebodys_job"), []),
    ],
)
def test_a_run_concerns_the_brands_on_which_it_works(run: dg.DagsterRun, brands: list[Brand]) -> None:
    assert [brand for brand in (ONLY, A, B) if brand.concerns(run)] == brands


def test_what_the_definitions_give_goes_before_the_environment() -> None:
    brand = Brand(variables=Variables("A_"), given={"TOAST_SENSOR": "off"})
    values = brand.values({"A_TOAST_SENSOR": "on", "TOAST_CENSUS": "off", "A_TOAST_NAMES": "off"})
    found = {name: values.get(name) for name in ("TOAST_SENSOR", "TOAST_NAMES", "TOAST_CENSUS")}
    assert found == {"TOAST_SENSOR": "off", "TOAST_NAMES": "off", "TOAST_CENSUS": None}


@pytest.mark.parametrize("name", ["a", "brand_a", "Brand2", "A__"])
def test_a_name_can_be_part_of_dagsters_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "2nd", "_a", "brand-a", "brand a", "a/b", "a.b", "brand_a\n", "é"])
def test_what_dagsters_names_cannot_hold_is_no_name(name: str) -> None:
    assert not is_name(name)
