"""Every snippet of docs/tables.md, and README's query, run as written on what the pipeline made in the sandbox.

Replaced are only the words of ``Analyst.replaced``: bucket, endpoint, credentials, a restaurant, an order. pandas,
Polars and boto3 read the sandbox's S3 themselves. DuckDB does so through pyarrow, because its extension httpfs can only
be had from DuckDB's site: what a snippet says in ``CREATE SECRET`` is how pyarrow connects.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import duckdb
import pandas as pd
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper  # type: ignore[import-untyped]
from pyarrow.fs import FileSystem, S3FileSystem

from toast_assets.cli import main
from toast_assets.cli.display import Display
from toast_assets.cli.environment import dagster_home, only, sandbox_environment
from toast_assets.cli.runs import materialize
from toast_assets.sandbox import Restaurant, Sandbox, SandboxConfig
from toast_assets.store.order_store import OrderStore
from toast_assets.week import WeekCalendar
from toast_assets_tests.support.data.pages import ROOT, Block, blocks
from toast_assets_tests.support.services.clients import UNLIMITED

PAGE, README = ROOT / "docs" / "tables.md", ROOT / "README.md"
BLOCKS = [*blocks(PAGE, "sql", "python", "console"), *blocks(README, "sql")]
FIRST, SECOND = WEEKS = ("2025-09-15", "2025-09-22")
NET_SALES, EXPORT = "Analysing the tables", "Open an export"
Rows = list[tuple[Any, ...]]


def block(heading: str, language: str, number: int = 1) -> Block:
    (found,) = (one for one in BLOCKS if (one.heading, one.language, one.number) == (heading, language, number))
    return found


class Httpfs(ArrowFSWrapper):  # type: ignore[misc]
    """In place of DuckDB's extension: ``s3://`` by way of pyarrow."""

    protocol, root_marker = "s3", ""

    OPTIONS: ClassVar = {
        "KEY_ID": "access_key",
        "SECRET": "secret_key",
        "REGION": "region",
        "ENDPOINT": "endpoint_override",
    }

    @classmethod
    def of_secret(cls, statement: str) -> Httpfs:
        """As ``CREATE SECRET (NAME value, …)`` says; an option that is not known here raises KeyError."""
        pairs = re.split(r",\s*", statement[statement.index("(") + 1 : statement.rindex(")")].strip())
        options = {name: value.strip("'") for name, value in (pair.split(maxsplit=1) for pair in pairs)}
        assert options.pop("TYPE") == "s3"
        if options == {"PROVIDER": "credential_chain"}:
            return cls.of_environment()
        # Addresses with the bucket in front of the host need a name for each bucket, which few other services have.
        assert options.pop("URL_STYLE") == "path"
        scheme = "http" if options.pop("USE_SSL", "true") == "false" else "https"
        return cls(S3FileSystem(scheme=scheme, **{cls.OPTIONS[name]: value for name, value in options.items()}))

    @classmethod
    def of_environment(cls) -> Httpfs:
        return cls(FileSystem.from_uri("s3://any-bucket/")[0])


@dataclass
class Analyst:
    """Somebody who reads the page, in a folder with an export, with the variables that the sandbox prints."""

    sandbox: Sandbox
    folder: Path
    order: str

    @property
    def replaced(self) -> dict[str, str]:
        endpoint = self.sandbox.s3_url.removeprefix("http://")
        return {
            "YOUR-BUCKET": self.sandbox.bucket,
            "https://s3.example.com": self.sandbox.s3_url,
            # The sandbox has no TLS.
            "'s3.example.com'": f"'{endpoint}', USE_SSL false",
            "'127.0.0.1:9302'": f"'{endpoint}'",
            "YOUR-KEY-ID": "sandbox",
            "YOUR-SECRET": "sandbox",
            "YOUR-RESTAURANT": self.sandbox.restaurant_guids[0],
            "YOUR-ORDER": self.order,
        }

    def code(self, one: Block) -> str:
        code = one.code
        for word, value in self.replaced.items():
            code = code.replace(word, value)
        assert "YOUR" not in code
        assert "example" not in code
        return code

    def run(self, one: Block) -> object:
        ways: dict[str, Callable[[Block], object]] = {"sql": self.sql, "python": self.python, "console": self.shell}
        return ways[one.language](one)

    def sql(self, one: Block, secret: Block | None = None) -> Rows:
        """The rows of the last statement; connected as ``secret`` says, else by the environment."""
        with closing(duckdb.connect()) as connection:
            connection.register_filesystem(Httpfs.of_environment())
            rows: Rows = []
            for each in (secret, one) if secret else (one,):
                for statement in connection.extract_statements(self.code(each)):
                    query = statement.query.strip()
                    if query.startswith("INSTALL"):
                        assert query.rstrip(";") == "INSTALL httpfs"
                    elif query.startswith("CREATE SECRET"):
                        connection.unregister_filesystem("s3")
                        connection.register_filesystem(Httpfs.of_secret(query))
                    else:
                        rows = connection.execute(query).fetchall()
        return rows

    def query(self, query: str) -> Rows:
        """A test's own query; ``{tables}`` is where the tables are."""
        tables = "s3://YOUR-BUCKET/toast-orders/tables"
        return self.sql(Block("", "", "sql", 1, query.replace("{tables}", tables)))

    def python(self, one: Block) -> dict[str, Any]:
        """What the block's names are then."""
        names: dict[str, Any] = {}
        exec(compile(self.code(one), str(one), "exec"), names)  # noqa: S102 - a block of this project's own page
        return names

    def shell(self, one: Block, environment: Mapping[str, str] | None = None) -> str:
        """What the commands print, followed by the variables that they leave."""
        lines = [line.removeprefix("$ ") for line in self.code(one).splitlines() if line.startswith("$ ")]
        if lines == ["toast-assets sandbox --ui"]:
            return self.sandbox_prints
        script = "\n".join(["set -e", *lines, "env"])
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)  # noqa: S603, S607
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    @cached_property
    def sandbox_prints(self) -> str:
        """What ``toast-assets sandbox`` prints before it waits, on free ports. What ``--ui`` adds is tested with the
        command itself."""
        command = [sys.executable, "-c", "from toast_assets.cli import main; main()", "sandbox", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            try:
                return "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def analyst(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analyst]:
    """Two weeks of two restaurants in two currencies, all of it made by the weekly job. Some orders of the first week
    change in the second, and a few records are too large for Amperity."""
    folder = tmp_path_factory.mktemp("analyst")
    restaurants = (
        Restaurant("0b1f6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "Harbor & Thistle, Pier 9", orders_per_week=60),
        Restaurant("1c2e7b63-8d4e-4f90-8b21-5e3d7c8f9012", "Café Ciénaga", orders_per_week=40, currency="CAD"),
    )
    config = SandboxConfig(restaurants=restaurants, rate_limits=False)
    with pytest.MonkeyPatch.context() as patched, Sandbox(config) as sandbox:
        patched.chdir(folder)
        home = dagster_home()
        variables = {
            "TOAST_REQUESTS_PER_SECOND": UNLIMITED,
            "TOAST_CENSUS": "off",
            "AMPERITY_MAX_RECORD_BYTES": "12000",
            "AMPERITY_MAX_REJECT_SHARE": "1",
        }
        with only(sandbox_environment(sandbox, home) | variables):
            for key in WEEKS:
                materialize(WeekCalendar().week(key), home, Display())
            store = OrderStore.from_environment()
            orders = store.load_table("orders", list(WEEKS), columns=["order_guid"])["order_guid"]
            yield Analyst(sandbox, folder, next(iter(sorted(orders[orders.duplicated()]))))


def sales_of(frame: pd.Series[Any]) -> Rows:
    return sorted((*index, value) for index, value in frame.items())  # type: ignore[misc]


@pytest.fixture
def export(analyst: Analyst) -> dict[str, Any]:
    """The names of the block that opens an export; the file is in the folder then."""
    return analyst.python(block(EXPORT, "python"))


@pytest.mark.usefixtures("export")
@pytest.mark.parametrize("one", BLOCKS, ids=str)
def test_the_snippet_runs_as_it_is_written(analyst: Analyst, one: Block) -> None:
    analyst.run(one)


def test_every_fenced_snippet_is_among_those_that_run() -> None:
    fences = re.findall(r"^ *```(\w*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [language for language in fences if language] == [one.language for one in BLOCKS if one.page != "README.md"]
    assert len(fences) == 2 * len([one for one in BLOCKS if one.page != "README.md"])
    assert [one.heading for one in BLOCKS if one.page == "README.md"] == ["The bucket"]


def test_net_sales_by_day_and_restaurant_are_the_same_in_sql_pandas_and_polars(analyst: Analyst) -> None:
    by_sql = analyst.sql(block(NET_SALES, "sql"))
    assert len(by_sql) > 14
    assert {currency for _, _, currency, _ in by_sql} == {"USD", "CAD"}
    assert sales_of(analyst.python(block(NET_SALES, "python"))["sales"]) == by_sql
    assert analyst.python(block(NET_SALES, "python", 2))["sales"].rows() == by_sql
    readme = analyst.sql(block("The bucket", "sql"))
    assert sum(row[-1] for row in readme) == sum(row[-1] for row in by_sql)


def test_an_order_that_changed_in_the_second_week_is_in_current_orders_once(analyst: Analyst) -> None:
    by_week = analyst.query("SELECT count(*), count(DISTINCT order_guid) FROM '{tables}/orders/*/*.parquet'")
    current = analyst.query("SELECT count(*), count(DISTINCT order_guid) FROM '{tables}/current_orders/*.parquet'")
    ((rows, orders),) = by_week
    assert current == [(orders, orders)]
    assert rows > orders


def test_frames_have_no_column_of_python_objects_where_the_page_says_so(analyst: Analyst) -> None:
    orders = analyst.python(block(NET_SALES, "python"))["orders"]
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in orders.dtypes)
    plain = pd.read_parquet(f"s3://{analyst.sandbox.bucket}/toast-orders/tables/current_orders/")
    assert [str(plain.dtypes[name]) for name in ("net_sales", "business_date")] == ["object", "object"]


@pytest.mark.parametrize("heading", ["Amazon S3", "MinIO, Ceph and other endpoints", "The sandbox"])
def test_each_secret_for_duckdb_leads_to_the_bucket(analyst: Analyst, heading: str) -> None:
    question = block(NET_SALES, "sql")
    assert analyst.sql(question, block(heading, "sql")) == analyst.sql(question)


def test_the_variables_for_another_endpoint_are_enough_for_pandas_and_polars(analyst: Analyst) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    printed = analyst.shell(block("MinIO, Ceph and other endpoints", "console"), bare)
    variables = dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("AWS_"))
    assert len(variables) == 4
    with patch.dict(os.environ, bare | variables, clear=True):
        by_pandas = sales_of(analyst.python(block(NET_SALES, "python"))["sales"])
        assert analyst.python(block(NET_SALES, "python", 2))["sales"].rows() == by_pandas


def test_another_endpoint_can_be_named_without_variables(analyst: Analyst) -> None:
    ((orders,),) = analyst.query("SELECT count(*) FROM '{tables}/current_orders/*.parquet'")
    with patch.dict(os.environ, clear=True):
        for number in (1, 2):
            found = analyst.python(block("MinIO, Ceph and other endpoints", "python", number))["orders"]
            assert len(found) == orders


def test_the_sandbox_prints_the_bucket_and_key_that_the_page_names(analyst: Analyst) -> None:
    printed = analyst.shell(block("The sandbox", "console"))
    exports = (shlex.split(line)[1] for line in printed.splitlines() if line.startswith("export "))
    variables = dict(one.split("=", 1) for one in exports)
    assert f"`{variables['S3_BUCKET_NAME']}`" in PAGE.read_text(encoding="utf-8")
    secret = block("The sandbox", "sql").code
    assert f"KEY_ID '{variables['AWS_ACCESS_KEY_ID']}'" in secret
    assert f"REGION '{variables['AWS_DEFAULT_REGION']}'" in secret
    (port,) = (option.default for option in main.commands["sandbox"].params if option.name == "port")
    assert isinstance(port, int)
    # Amperity and S3 take the next two.
    assert f"ENDPOINT '127.0.0.1:{port + 2}'" in secret


@pytest.mark.parametrize(
    ("table", "total", "of_orders"),
    [
        ("checks", "sum(net_sales)", "sum(net_sales)"),
        ("checks", "sum(refund_amount)", "sum(refund_amount)"),
        ("checks", "sum(tax_amount) FILTER (counts AND NOT excess_food)", "sum(tax_amount)"),
        ("order_items", "sum(net_sales)", "sum(net_sales - service_charge_amount)"),
        ("payments", "sum(amount) FILTER (taken AND NOT excess_food)", "sum(payment_amount)"),
        ("payments", "sum(tip_amount) FILTER (taken AND NOT excess_food)", "sum(tip_amount)"),
        ("payments", "sum(refund_amount) FILTER (taken AND NOT excess_food)", "sum(refund_amount)"),
        ("discounts", "sum(sales_discount_amount) FILTER (counts)", "sum(discount_amount)"),
        (
            "service_charges",
            "sum(amount) FILTER (counts AND gratuity AND NOT excess_food)",
            "sum(gratuity_amount)",
        ),
    ],
)
def test_rows_that_the_page_says_to_sum_add_up_to_the_orders(
    analyst: Analyst, table: str, total: str, of_orders: str
) -> None:
    of_rows = (
        f"SELECT {total} FROM '{{tables}}/{table}/*/*.parquet' JOIN"  # noqa: S608 - figures of this test's own
        " (SELECT restaurant_guid, order_guid, week, excess_food FROM '{tables}/orders/*/*.parquet')"
        " USING (restaurant_guid, order_guid, week)"
    )
    found = analyst.query(of_rows)
    assert found == analyst.query(f"SELECT {of_orders} FROM '{{tables}}/orders/*/*.parquet'")  # noqa: S608
    assert found != [(0,)]


@pytest.fixture
def newest(analyst: Analyst) -> dict[str, Any]:
    """What ``newest=True`` gives in the page's block, each with what ``current_orders`` says of its order."""
    names = analyst.python(block("Several weeks", "python"))
    order, wanted = ["restaurant_guid", "order_guid"], ["currency", "created_in_test_mode", "excess_food"]
    orders = names["store"].load_table("current_orders", columns=[*order, *wanted])
    found = {name: names[name].merge(orders, on=order) for name in ("payments", "guests")}
    assert all(len(rows) == len(names[name]) for name, rows in found.items())
    return found | {"items": names["items"]}


def test_newest_payments_are_the_same_in_sql_polars_and_load_table(analyst: Analyst, newest: dict[str, Any]) -> None:
    by_sql = analyst.sql(block("Several weeks", "sql"))
    assert {row[0] for row in by_sql} >= {"CREDIT", "CASH"}
    assert analyst.python(block("Several weeks", "python", 2))["payments"].rows() == by_sql
    payments = newest["payments"]
    kept = payments[payments["taken"] & ~payments["created_in_test_mode"] & ~payments["excess_food"]]
    sums = kept.groupby(["type", "currency"])["amount"].agg(["count", "sum"]).sort_index()
    assert [(*index, *row) for index, *row in sums.itertuples()] == by_sql


def test_newest_items_and_guests_are_the_same_in_sql_and_load_table(analyst: Analyst, newest: dict[str, Any]) -> None:
    everything = "SELECT sum(net_sales - service_charge_amount) FROM '{tables}/current_orders/*.parquet'"
    assert [(newest["items"]["net_sales"].sum(),)] == analyst.query(everything)
    best = analyst.sql(block("Several weeks", "sql", 2))
    assert best[0][2] > best[-1][2] > 0
    guests = newest["guests"]
    kept = guests[guests["counts"] & ~guests["created_in_test_mode"]]
    ((month, people),) = analyst.sql(block("Several weeks", "sql", 3))
    assert (month.year, month.month) == (2025, 9)
    assert people == kept["email_key"].fillna(kept["customer_key"]).nunique() > 0


def test_load_table_gives_the_weeks_that_the_page_names(analyst: Analyst) -> None:
    names = analyst.python(block("load_table", "python"))
    assert names["weeks"] == list(WEEKS)
    assert f'# ["{FIRST}", "{SECOND}"]' in block("load_table", "python").code
    assert f"# {', '.join(names['names'].columns)}" in block("load_table", "python").code
    assert len(names["both"]) > len(names["store"].load_table("payments", newest=True))


def test_the_ledger_says_when_an_order_was_delivered_and_under_which_request_id(analyst: Analyst) -> None:
    first, second = analyst.sql(block("Was this order delivered?", "sql"))
    assert [str(row[0]) for row in (first, second)] == list(WEEKS)
    assert {row[1] for row in (first, second)} == {"stream"}
    assert {(row[4], row[8], row[9]) for row in (first, second)} == {("accepted", 202, None)}
    assert first[3] < second[3]
    assert first[5] < second[5]
    received = [record.request_id for record in analyst.sandbox.amperity.accepted if record.guid == analyst.order]
    assert [first[6], second[6]] == received


def test_rejects_are_those_that_the_ledger_calls_rejected(analyst: Analyst) -> None:
    rejects = analyst.sql(block("Was this order delivered?", "sql", 2))
    assert rejects
    assert all("AMPERITY_MAX_RECORD_BYTES" in row[4] for row in rejects)
    ledger = analyst.query(
        "SELECT order_guid FROM 's3://YOUR-BUCKET/toast-orders/deliveries/*/restaurant=*.parquet'"
        " WHERE state = 'rejected' ORDER BY ALL"
    )
    assert sorted((str(row[1]),) for row in rejects) == ledger


def test_an_export_holds_the_orders_of_a_restaurants_week(analyst: Analyst, export: dict[str, Any]) -> None:
    orders, metadata = export["orders"], export["metadata"]
    assert metadata["total_orders"] == len(orders)
    assert metadata["restaurant_guid"] == analyst.sandbox.restaurant_guids[0]
    assert isinstance(orders[0]["checks"][0]["totalAmount"], Decimal | int)
    first_line = analyst.shell(block(EXPORT, "console")).splitlines()[1]
    assert json.loads(first_line.rstrip(",")) == json.loads(json.dumps(orders[0], default=float))
    raw = f"SELECT count(*) FROM 's3://YOUR-BUCKET/toast-orders/raw/week={FIRST}/*.parquet'"  # noqa: S608
    assert [(len(analyst.sql(block(EXPORT, "sql"))),)] == analyst.query(raw)
    assert len(analyst.sql(block(EXPORT, "sql", 2))) == len(analyst.sql(block(EXPORT, "sql")))


@pytest.mark.usefixtures("export")
def test_what_the_page_says_fails_on_an_export_fails(analyst: Analyst) -> None:
    with pytest.raises(ValueError, match="Mixing dicts"):
        pd.read_json("export.json.gz")
    large = analyst.folder / "large.json"
    large.write_text(json.dumps({"orders": [{"guid": "large", "source": " " * 40_000_000}]}))
    address = "'s3://YOUR-BUCKET/toast-orders/toast-orders_20250922_040000_*.json.gz'"
    with_limit = block(EXPORT, "sql").code.replace(address, f"'{large}'")
    ((guid, _),) = analyst.query(with_limit)
    assert guid == "large"
    with pytest.raises(duckdb.Error, match="maximum_object_size"):
        analyst.query(re.sub(r", maximum_object_size = \d+", "", with_limit))


def test_boto3_leaves_an_export_compressed_although_it_says_how(analyst: Analyst, export: dict[str, Any]) -> None:
    head = export["boto3"].client("s3").head_object(Bucket=analyst.sandbox.bucket, Key=export["key"])
    assert head["ContentEncoding"] == "gzip"
    assert (analyst.folder / "export.json.gz").read_bytes()[:2] == b"\x1f\x8b"
