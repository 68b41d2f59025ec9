"""Makes an S3 client misbehave on order: refusals, and things that happen just before or after a request."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse, HeadersDict

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = Any

_BODY = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
_SENTENCE = "Made to fail."


class _Body(BytesIO):
    def stream(self, *_: Any, **__: Any) -> list[bytes]:
        """As urllib3 has it."""
        return [self.read()]


def refuse(
    client: S3Client, operation: str, status: int, code: str, *, times: int | None = None, message: str = _SENTENCE
) -> list[str]:
    """The server answers this error to ``operation`` (``PutObject``, …), ``times`` times, with S3's own ``message``;
    gives the URLs refused."""
    refused: list[str] = []

    # Botocore sends nothing where a handler returns a response; its stubs do not know that.
    def answer(request: Any, **_: Any) -> Any:
        if times is not None and len(refused) >= times:
            return None
        refused.append(request.url)
        headers: Any = HeadersDict({"Content-Type": "application/xml"})
        body = b"" if request.method == "HEAD" else _BODY.format(code=code, message=message).encode()
        return AWSResponse(request.url, status, headers, _Body(body))

    client.meta.events.register(f"before-send.s3.{operation}", answer)
    return refused


def refuse_quoted_etags(client: S3Client) -> list[str]:
    """The server takes the quotes of an ``If-Match`` for a part of the ETag, as Ceph's gateway does; gives the URLs
    refused."""
    refused: list[str] = []

    def answer(request: Any, **_: Any) -> Any:
        condition = request.headers.get("If-Match", "")
        if not (condition if isinstance(condition, str) else condition.decode()).startswith('"'):
            return None
        refused.append(request.url)
        headers: Any = HeadersDict({"Content-Type": "application/xml"})
        return AWSResponse(
            request.url, 412, headers, _Body(_BODY.format(code="PreconditionFailed", message=_SENTENCE).encode())
        )

    client.meta.events.register("before-send.s3.PutObject", answer)
    return refused


def ignore_condition(client: S3Client, header: str) -> None:
    """The server does not know the condition ``header`` (``If-Match``, ``If-None-Match``) and stores in any case."""

    def forget(params: Any, **_: Any) -> None:
        params["headers"].pop(header, None)

    client.meta.events.register("before-call.s3.PutObject", forget)


def before(client: S3Client, operation: str, action: Callable[[int], object]) -> None:
    """Calls ``action`` with the number of the request before each request of ``operation`` leaves."""
    count = 0

    def act(**_: Any) -> None:
        nonlocal count
        count += 1
        action(count)

    client.meta.events.register(f"before-send.s3.{operation}", act)


def after(client: S3Client, operation: str, action: Callable[[int], object]) -> None:
    """Calls ``action`` with the number of the call after each successful or failed call of ``operation``."""
    count = 0

    def act(**_: Any) -> None:
        nonlocal count
        count += 1
        action(count)

    client.meta.events.register(f"after-call.s3.{operation}", act)
