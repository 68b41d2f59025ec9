"""The one place that makes an S3 client: for runs, the sensor, commands and the doctor alike."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.request import getproxies

from botocore.exceptions import EndpointConnectionError, SSLError

from toast_assets.errors import StoreError
from toast_assets.http.network import find_proxy, s3_ca_file
from toast_assets.store.s3_errors import CREDENTIALS, SDK_FAULTS, connection_cause, sdk_problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = Any

CALLS_AT_ONCE = 32
"""How many calls of one client may be under way; more would wait for a connection."""
# What a line feed, a blank or quotes that were copied along are not.
_SENDABLE = re.compile(r"[!#-&(-~]*")


def s3_client(
    *, profile: str | None = None, attempts: int | None = None, unsigned: bool = False, **options: Any
) -> S3Client:
    """A client that threads may share; ``options`` are those of botocore's ``create_client``. An empty ``profile`` is
    none, whatever the environment says.

    Raises:
        StoreError: a variable or a file of the AWS SDK is wrong, or no credentials can be had.
        SettingsError: a variable names a proxy, or a file of certificates, that cannot be used.
    """
    if odd := [name for name in CREDENTIALS if not _SENDABLE.fullmatch(os.environ.get(name, ""))]:
        raise StoreError(
            f"{' and '.join(odd)} cannot be sent: a blank, a line feed, a quote or another odd character is in it.",
            hint="Copy it again; a secret that is kept as a file may end in a line feed.",
            code="STORE-CREDENTIALS",
        )
    import botocore.session  # takes a while
    from botocore import UNSIGNED
    from botocore.config import Config

    try:
        unset = {"profile": (None, None, None, None)} if profile == "" else None
        session = botocore.session.Session(session_vars=unset, profile=profile or None)
        total = attempts or session.get_config_variable("max_attempts") or 5
        config = Config(
            # Pauses between attempts grow to 20 s.
            retries={"mode": "standard", "total_max_attempts": total},
            connect_timeout=10,
            # Without a single byte; what drips for ever is cut off by the bucket.
            read_timeout=60,
            max_pool_connections=CALLS_AT_ONCE,
            **({"signature_version": UNSIGNED} if unsigned else {}),
        )
        client = session.create_client("s3", config=config, **options)
        # Only the client knows its endpoint, and the way there depends on it.
        endpoint, ca_file = client.meta.endpoint_url, s3_ca_file()
        proxy = find_proxy(endpoint)
        verify = ca_file if options.get("verify") is None else options["verify"]
        if proxy or getproxies() or verify is not None:
            # Given no proxies, botocore does not look for them in the environment.
            proxies = {endpoint.partition(":")[0].lower(): proxy.url} if proxy else {}
            way = config.merge(Config(proxies=proxies))
            client = session.create_client("s3", config=way, **options | {"verify": verify})
    except SDK_FAULTS as error:
        # Without the cause: its text may quote a credential.
        raise sdk_problem(error, "The S3 client cannot be made") from None
    client.meta.events.register_first("needs-retry.s3", _at_once)
    return cast(S3Client, client)


def _at_once(caught_exception: Exception | None = None, **_: Any) -> None:
    """What does not pass, such as a certificate that is not trusted, is not tried again."""
    match caught_exception:
        case SSLError() | EndpointConnectionError() if connection_cause(caught_exception).is_permanent:
            raise caught_exception
