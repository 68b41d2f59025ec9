"""What the S3 client has to be given so that proxies and certificates are those of the other services."""

from __future__ import annotations

from typing import NamedTuple

from toast_assets.http.certificates import s3_ca_file
from toast_assets.http.proxies import find_proxy


class S3Connection(NamedTuple):
    """For ``botocore.config.Config(proxies=…)`` and ``client(…, verify=…)``; with an empty ``proxies`` botocore does
    not look into the environment, with None for ``verify`` it goes by its own configuration."""

    proxies: dict[str, str]
    verify: str | None


def s3_connection(endpoint_url: str) -> S3Connection:
    """For the S3 at ``endpoint_url``, which is ``client.meta.endpoint_url`` where nobody set one.

    Raises:
        SettingsError: a variable names a proxy or a file that cannot be used.
    """
    proxy = find_proxy(endpoint_url)
    proxies = {} if proxy is None else {endpoint_url.partition(":")[0].lower(): proxy.url}
    return S3Connection(proxies, s3_ca_file())
