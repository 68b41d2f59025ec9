"""The bucket: whole objects in, whole objects out, and errors that say which permission or name is wrong.

An S3 object appears only when it is complete, so a reader sees the old object or the new one, never half of one.
"""

from __future__ import annotations

import filecmp
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.http.network import plain_http_problem
from toast_assets.scratch import scratch_folder
from toast_assets.store.s3_errors import SDK_FAULTS, MissingObjectError, is_bare, refusal, sdk_problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = Any

# Seconds before what broke off is read again; what breaks before it begins is asked for again by the SDK itself.
_PAUSES = (0.5, 1.0, 2.0)
# Two runs that write one object at once are rare; losing the race this often means that something else is wrong.
_MOST_ATTEMPTS = 6
# Each thread that downloads keeps a few times as much for as long as it lives.
_CHUNK_BYTES = 1 << 18
# The SDK's own time-out is between two bytes, so a connection that drips would never end.
_BODY_SECONDS, _SLOWEST_BYTES_PER_SECOND = 60.0, 100_000
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')

Version = str
"""Which version of an object was read: its ETag, or ``ABSENT`` where there was no object."""
ABSENT: Version = ""


@dataclass(frozen=True)
class StoredObject:
    """An object's size in bytes, its user metadata (names in lower case), its version, and the MD5 of its content
    (hexadecimal) where S3 says it. ``path`` is the local file with its content, where that was read."""

    size: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    version: Version = ABSENT
    md5: str | None = None
    path: Path = Path()


@dataclass(frozen=True)
class Replacement:
    """The new object: bytes, or a file's content; ``properties`` as boto3's put_object takes them."""

    content: bytes | Path
    properties: Mapping[str, Any] = field(default_factory=dict)


class Removal:
    """The object is removed."""


Change = Callable[[StoredObject | None, Path], Replacement | Removal | None]
"""From what is stored (None: no object) and a path for new content to what the object becomes (None: no change)."""


class Bucket:
    """One bucket through one S3 client (boto3's clients may be shared by threads).

    ``endpoint`` is the address of its S3. ``encryption`` are properties of each upload, as boto3's put_object takes
    them; without them the bucket's own default holds. Every method raises StoreError where the bucket is missing or
    refuses access, S3 cannot be reached, or there are no credentials.

    Raises:
        StoreError: the client would send everything unencrypted.
    """

    def __init__(
        self,
        client: S3Client,
        name: str,
        encryption: Mapping[str, Any] | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.name = name
        self.endpoint = client.meta.endpoint_url
        self.encryption: Mapping[str, Any] = encryption or {}
        self._sleep, self._clock = sleep, clock
        self._bare_etags = False
        self._etags_are_digests = True
        if problem := plain_http_problem(self.endpoint):
            raise StoreError(f"S3's endpoint {problem}.", hint="Check AWS_ENDPOINT_URL_S3.", code="STORE-ENDPOINT")

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def check(self) -> None:
        """Raise a StoreError for a wrong name or role before any work is done."""
        with self._errors("s3:ListBucket"):
            self.client.head_bucket(Bucket=self.name)

    def read(self, key: str) -> tuple[bytes, Version] | None:
        content = BytesIO()
        info = self._fetched(key, content)
        return (content.getvalue(), info.version) if info else None

    def fetch(self, key: str, path: Path) -> StoredObject | None:
        """Write the object's content into the file at ``path``; None, and no file, where there is no such object."""
        with path.open("wb") as file:
            info = self._fetched(key, file)
        if info is None:
            path.unlink()
            return None
        return replace(info, path=path)

    def _fetched(self, key: str, file: BinaryIO) -> StoredObject | None:
        """Write the object into ``file``, whole or not at all."""
        problem, digests = "", set[str]()
        for pause in (0.0, *_PAUSES):
            if pause:
                self._sleep(pause)
            file.seek(0)
            file.truncate()
            try:
                with self._errors("s3:GetObject", key):
                    reply: Mapping[str, Any] = self.client.get_object(Bucket=self.name, Key=key)
                    info = self._info(reply)
            except MissingObjectError:
                return None
            md5 = hashlib.md5(usedforsecurity=False)
            stream = reply["Body"]
            stream._raw_stream = _Timed(stream._raw_stream, self._clock, info.size)
            try:
                for piece in stream.iter_chunks(_CHUNK_BYTES):
                    file.write(piece)
                    md5.update(piece)
            except (BotoCoreError, HTTPError, TimeoutError) as error:
                # The rest of it is not waited for.
                stream.close()
                reason = "it came too slowly" if isinstance(error, TimeoutError) else type(error).__name__
                problem = f"broke off while it was read ({reason})"
                continue
            # Where S3 gives a checksum, the SDK has compared it.
            if any(name.startswith("Checksum") for name in reply) or info.md5 in (None, md5.hexdigest()):
                return info
            if md5.hexdigest() in digests:
                # The same bytes twice are what is stored, so the ETags of this S3 are something else.
                self._etags_are_digests = False
                return info
            digests.add(md5.hexdigest())
            problem = "was changed while it was read"
        hint = "Run again. If it lasts, look at the network and the proxies between here and AWS_ENDPOINT_URL_S3."
        raise StoreError(f"{self.uri(key)} {problem}.", hint=hint, code="STORE-UNAVAILABLE")

    def info(self, key: str) -> StoredObject | None:
        """The object without its content, or None where there is no such object."""
        try:
            with self._errors("s3:GetObject", key):
                return self._info(self.client.head_object(Bucket=self.name, Key=key))
        except MissingObjectError:
            return None

    def _info(self, reply: Mapping[str, Any]) -> StoredObject:
        etag = reply["ETag"]
        found = _MD5.fullmatch(etag) if self._etags_are_digests else None
        md5 = found[1] if found and "kms" not in reply.get("ServerSideEncryption", "") else None
        metadata = {name.lower(): value for name, value in reply.get("Metadata", {}).items()}
        return StoredObject(reply.get("ContentLength", 0), metadata, etag, md5)

    def update(self, key: str, change: Change, *, content: bool = True, exists: bool = True) -> Version:
        """Read an object, let ``change`` make the new one, and store that only if the object is still what was read;
        else begin again, so ``change`` may be called several times. The version that is stored in the end.

        Without ``content`` only the metadata is read (HEAD), and what ``change`` gets has no ``path``; without
        ``exists`` the first attempt takes it that there is no object. Raises StoreConflictError where other runs kept
        writing the object.
        """
        written: Replacement | Removal | None = None
        with scratch_folder() as folder:
            for attempt in range(1, _MOST_ATTEMPTS + 1):
                stored = None
                if exists or attempt > 1:
                    stored = self.fetch(key, folder / "stored") if content else self.info(key)
                if stored and content and isinstance(written, Replacement) and _holds(stored.path, written.content):
                    # The last attempt was stored, and only its answer was lost.
                    return stored.version
                version = stored.version if stored else ABSENT
                written = change(stored, folder / f"written-{attempt}")
                if written is None or (isinstance(written, Removal) and stored is None):
                    return version
                with suppress(StoreConflictError):
                    if isinstance(written, Replacement):
                        return self.write(key, written.content, replaces=version, **written.properties)
                    if self.delete(key, version):
                        return ABSENT
        raise StoreConflictError(f"{self.uri(key)} was written by somebody else in the meantime.")

    def write(self, key: str, body: bytes | Path, *, replaces: Version | None = None, **properties: Any) -> Version:
        """Store ``body`` (bytes, or a file's content) under ``key``; ``properties`` as boto3's put_object takes them.

        With ``replaces`` only if the object is still that version (``ABSENT``: still does not exist), else a
        StoreConflictError.
        """
        properties |= self.encryption
        if not replaces:
            return self._put(key, body, properties if replaces is None else properties | {"IfNoneMatch": "*"})
        try:
            return self._put(key, body, properties | self._if_match(replaces))
        except MissingObjectError:
            # Somebody removed it: AWS answers 404, not 412, to a condition on an object that is not there.
            raise StoreConflictError(f"{self.uri(key)} was removed by somebody else in the meantime.") from None
        except StoreConflictError:
            if self._bare_etags or (now := self.info(key)) is None or now.version != replaces:
                raise
        # The object is what it was, so it was not the object that did not match: Ceph's gateway and services built on
        # it compare the quotes, too. Still a condition, so a writer who comes in between is seen.
        self._bare_etags = True
        return self._put(key, body, properties | self._if_match(replaces))

    def _if_match(self, version: Version) -> dict[str, str]:
        return {"IfMatch": version.strip('"') if self._bare_etags else version}

    def _put(self, key: str, body: bytes | Path, properties: Mapping[str, Any]) -> Version:
        conditional = "IfMatch" in properties or "IfNoneMatch" in properties
        with (
            nullcontext(body) if isinstance(body, bytes) else body.open("rb") as content,
            self._errors("s3:PutObject", key, conditional=conditional),
        ):
            return self.client.put_object(Bucket=self.name, Key=key, Body=content, **properties)["ETag"]

    def delete(self, key: str, version: Version | None = None) -> bool:
        """Remove the object, with a ``version`` only if it is still that one; whether there is no such object now.

        Not every S3 has conditional removal (Amazon S3: ``If-Match`` on DeleteObject), so the version is compared right
        before: there, a writer in that moment is not seen.
        """
        condition: dict[str, Any] = {}
        if version is not None:
            now = self.info(key)
            if now is None or now.version != version:
                return now is None
            condition = self._if_match(version)
        try:
            with self._errors("s3:DeleteObject", key, conditional=bool(condition)):
                self.client.delete_object(Bucket=self.name, Key=key, **condition)
        except MissingObjectError:
            return True
        except StoreConflictError:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that begin with ``prefix``, in S3's order."""
        return (key for key, _ in self.listed(prefix))

    def listed(self, prefix: str) -> Iterator[tuple[str, Version]]:
        """All keys that begin with ``prefix``, in S3's order, each with its object's version."""
        with self._errors("s3:ListBucket", prefix):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                yield from ((entry["Key"], entry["ETag"]) for entry in page.get("Contents", ()))

    def folders(self, prefix: str) -> Iterator[str]:
        """The first folders below ``prefix`` that hold objects, each with a slash at its end."""
        with self._errors("s3:ListBucket", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                yield from (entry["Prefix"] for entry in page.get("CommonPrefixes", ()))

    @contextmanager
    def _errors(self, permission: str, key: str = "", *, conditional: bool = False) -> Iterator[None]:
        where = self.uri(key)
        try:
            yield
        except ClientError as error:
            answer = self._with_reason(error, key)
            # Without the cause: its text may quote a credential.
            raise refusal(answer, where, self.name, permission, key=key, conditional=conditional) from None
        except SDK_FAULTS as error:
            raise sdk_problem(error, f"S3 could not be reached for {where}") from None

    def _with_reason(self, error: ClientError, key: str) -> ClientError:
        """The answer to a HEAD has no body, so S3 is asked once more in a way that has one."""
        if is_bare(error):
            try:
                self.client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
            except ClientError as listing:
                # Of an object, only the listing itself may be forbidden.
                if not key or listing.response.get("Error", {}).get("Code") != "AccessDenied":
                    return listing
            except SDK_FAULTS:
                pass
        return error


def _holds(path: Path, content: bytes | Path) -> bool:
    return path.read_bytes() == content if isinstance(content, bytes) else filecmp.cmp(path, content, shallow=False)


class _Timed:
    """A stream that gives what has arrived instead of waiting for all that was asked for, until the time is over that
    an object of ``size`` bytes may take."""

    def __init__(self, stream: Any, clock: Callable[[], float], size: int) -> None:
        self._stream, self._clock = stream, clock
        self._end = clock() + _BODY_SECONDS + size / _SLOWEST_BYTES_PER_SECOND

    def read(self, amount: int) -> bytes:
        if self._clock() > self._end:
            raise TimeoutError
        piece: bytes = self._stream.read1(amount)
        return piece

    def close(self) -> None:
        self._stream.close()
