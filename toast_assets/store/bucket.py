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
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.http.network import plain_http_problem
from toast_assets.scratch import scratch_folder
from toast_assets.store.exposure import exposure
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


@dataclass(frozen=True)
class Version:
    """Which version of an object was read; ``etag`` is None where there was none."""

    etag: str | None


ABSENT = Version(None)


@dataclass(frozen=True)
class ObjectInfo:
    """An object's size in bytes, its user metadata, names in lower case, which version it is, and the MD5 of its
    content in hexadecimal, where S3 says it."""

    size: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    version: Version = ABSENT
    md5: str | None = None


@dataclass(frozen=True)
class StoredObject(ObjectInfo):
    """An object as it was read; its content is in the local file ``path``, where that was read, too."""

    path: Path = Path()


@dataclass(frozen=True)
class Replacement:
    """The new object: bytes, or a file's content; ``properties`` as boto3's put_object takes them."""

    content: bytes | Path
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Removal:
    """The object is removed."""


Change = Callable[[StoredObject | None, Path], Replacement | Removal | None]
"""What an object becomes: it gets what is stored, None where there is no object, and a path at which it may write the
new content; it returns None to leave the object as it is."""


@dataclass(frozen=True)
class Encryption:
    """How S3 encrypts what is stored: ``AES256`` with its own keys, ``aws:kms`` with ``kms_key_id``, or without one
    with the account's key for S3."""

    algorithm: Literal["AES256", "aws:kms"]
    kms_key_id: str | None = None

    @property
    def properties(self) -> dict[str, Any]:
        """As boto3's put_object takes them."""
        key = {"SSEKMSKeyId": self.kms_key_id} if self.kms_key_id else {}
        return {"ServerSideEncryption": self.algorithm, **key}


class Bucket:
    """One bucket through one S3 client (boto3's clients may be shared by threads).

    With an ``encryption`` every object is stored with it, else as the bucket's own default says. ``endpoint`` is the
    address of its S3, ``encryption`` what each upload sends, as boto3 takes it. Every method raises StoreError where
    the bucket is missing or refuses access, S3 cannot be reached, or there are no credentials.

    Raises:
        StoreError: the client would send everything unencrypted.
    """

    def __init__(
        self,
        client: S3Client,
        name: str,
        encryption: Encryption | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self.name = name
        self.endpoint = client.meta.endpoint_url
        self.encryption: Mapping[str, Any] = encryption.properties if encryption else {}
        self._sleep, self._clock = sleep, clock
        self._bare_etags = False
        self._etags_are_digests = True
        if problem := plain_http_problem(self.endpoint):
            raise StoreError(f"S3's endpoint {problem}.", hint="Check AWS_ENDPOINT_URL_S3.")

    def uri(self, key: str) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.name}/{key}"

    def check(self) -> None:
        """Ask for the bucket itself, so that a wrong name or role shows before any work is done."""
        with self._errors("s3:ListBucket"):
            self._client.head_bucket(Bucket=self.name)

    def refuse_public(self) -> None:
        """Make sure that the bucket is not open to everybody, as far as these credentials may ask.

        Raises:
            StoreError: it is.
        """
        found = exposure(self._client, self.name)
        if found.public:
            raise StoreError(
                f"The bucket {self.name} is public ({found.reason}): guests' data must not be stored in it.",
                hint="Switch on all four settings of its block of public access.",
            )

    def read(self, key: str) -> tuple[bytes, Version] | None:
        """The object and its version, or None where there is no such object."""
        content = BytesIO()
        info = self._fetched(key, content)
        return (content.getvalue(), info.version) if info else None

    def download(self, key: str, path: Path) -> Version | None:
        """Write the object into the file at ``path``; its version, or None where there is no such object."""
        stored = self.fetch(key, path)
        return stored.version if stored else None

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
        digests: set[str] = set()
        for pause in _PAUSES:
            try:
                return self._fetched_once(key, file, digests)
            except _BrokenBodyError:
                self._sleep(pause)
        return self._fetched_once(key, file, digests)

    def _fetched_once(self, key: str, file: BinaryIO, digests: set[str]) -> StoredObject | None:
        """One attempt; ``digests`` are those of earlier ones that did not fit their ETag."""
        file.seek(0)
        file.truncate()
        try:
            with self._errors("s3:GetObject", key):
                reply: Mapping[str, Any] = self._client.get_object(Bucket=self.name, Key=key)
                info = self._info(reply)
        except MissingObjectError:
            return None
        # Where S3 gives a checksum, the SDK has compared it.
        expected = None if any(name.startswith("Checksum") for name in reply) else info.md5
        digest = hashlib.md5(usedforsecurity=False)
        for piece in _pieces(reply, self.uri(key), self._clock):
            file.write(piece)
            if expected:
                digest.update(piece)
        if expected not in (None, digest.hexdigest()):
            if digest.hexdigest() not in digests:
                digests.add(digest.hexdigest())
                raise _BrokenBodyError(f"{self.uri(key)} was changed while it was read.", hint=_BROKEN_HINT)
            # The same bytes twice are what is stored, so the ETags of this S3 are something else.
            self._etags_are_digests = False
        return info

    def info(self, key: str) -> StoredObject | None:
        """The object without its content, or None where there is no such object."""
        try:
            with self._errors("s3:GetObject", key):
                return self._info(self._client.head_object(Bucket=self.name, Key=key))
        except MissingObjectError:
            return None

    def _info(self, reply: Mapping[str, Any]) -> StoredObject:
        etag = reply["ETag"]
        found = _MD5.fullmatch(etag) if self._etags_are_digests else None
        md5 = found[1] if found and "kms" not in reply.get("ServerSideEncryption", "") else None
        metadata = {name.lower(): value for name, value in reply.get("Metadata", {}).items()}
        return StoredObject(reply.get("ContentLength", 0), metadata, Version(etag), md5)

    def update(self, key: str, change: Change, *, content: bool = True, exists: bool = True) -> Version:
        """Read an object, let ``change`` make the new one, and store that only if the object is still what was read;
        else begin again. The one way to write what several runs may write.

        ``change`` may be called several times. Without ``content`` only the object's metadata is read (HEAD), and what
        ``change`` gets has no ``path``; without ``exists`` the first attempt takes it that there is no object. What is
        returned is the version that is stored in the end, ``ABSENT`` where there is none.

        Raises:
            StoreConflictError: other runs kept writing the object.
        """
        written: Replacement | Removal | None = None
        with scratch_folder() as folder:
            for attempt in range(1, _MOST_ATTEMPTS + 1):
                stored = None
                if exists or attempt > 1:
                    stored = self.fetch(key, folder / "stored") if content else self.info(key)
                if stored and content and isinstance(written, Replacement) and _holds(stored, written):
                    # The last attempt was stored, and only its answer was lost.
                    return stored.version
                version = stored.version if stored else ABSENT
                written = change(stored, folder / f"written-{attempt}")
                if written is None or (isinstance(written, Removal) and stored is None):
                    return version
                if isinstance(written, Removal):
                    if self.delete(key, version):
                        return ABSENT
                    continue
                with suppress(StoreConflictError):
                    return self.write(key, written.content, replaces=version, **written.properties)
        raise StoreConflictError(f"{self.uri(key)} was written by somebody else in the meantime.")

    def write(self, key: str, body: bytes | Path, *, replaces: Version | None = None, **properties: Any) -> Version:
        """Store ``body`` (bytes, or a file's content) under ``key``; ``properties`` as boto3's put_object takes them.

        With ``replaces`` only if the object is still that version (``ABSENT``: still does not exist).

        Raises:
            StoreConflictError: it is not.
        """
        properties |= self.encryption
        if replaces is None:
            return self._put(key, body, properties)
        if replaces.etag is None:
            return self._put(key, body, properties | {"IfNoneMatch": "*"})
        try:
            return self._put(key, body, properties | {"IfMatch": self._condition(replaces)})
        except MissingObjectError:
            # Somebody removed it: AWS answers 404, not 412, to a condition on an object that is not there.
            raise StoreConflictError(f"{self.uri(key)} was removed by somebody else in the meantime.") from None
        except StoreConflictError:
            if self._bare_etags or self._version(key) != replaces:
                raise
        # The object is what it was, so it was not the object that did not match: Ceph's gateway and services built on
        # it compare the quotes, too. Still a condition, so a writer who comes in between is seen.
        self._bare_etags = True
        return self._put(key, body, properties | {"IfMatch": self._condition(replaces)})

    def _condition(self, version: Version) -> str:
        etag = version.etag or ""
        return etag.strip('"') if self._bare_etags else etag

    def _put(self, key: str, body: bytes | Path, properties: Mapping[str, Any]) -> Version:
        conditional = "IfMatch" in properties or "IfNoneMatch" in properties
        with (
            nullcontext(body) if isinstance(body, bytes) else body.open("rb") as content,
            self._errors("s3:PutObject", key, conditional=conditional),
        ):
            return Version(self._client.put_object(Bucket=self.name, Key=key, Body=content, **properties)["ETag"])

    def _version(self, key: str) -> Version:
        info = self.info(key)
        return info.version if info else ABSENT

    def delete(self, key: str, version: Version | None = None) -> bool:
        """Remove the object, with a ``version`` only if it is still that one; whether there is no such object now.

        Deleting a missing object is not an error. An S3 without conditional removal (Amazon S3: ``If-Match`` on
        DeleteObject) compares nothing, so the version is compared right before: a writer in that moment is not seen
        there.
        """
        condition: dict[str, Any] = {}
        if version is not None:
            now = self._version(key)
            if now != version:
                return now == ABSENT
            condition = {"IfMatch": self._condition(version)}
        try:
            with self._errors("s3:DeleteObject", key, conditional=bool(condition)):
                self._client.delete_object(Bucket=self.name, Key=key, **condition)
        except MissingObjectError:
            return True
        except StoreConflictError:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that begin with ``prefix``, in S3's order."""
        with self._errors("s3:ListBucket", prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                yield from (entry["Key"] for entry in page.get("Contents", ()))

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
        if not is_bare(error):
            return error
        try:
            self._client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
        except ClientError as listing:
            about_listing = bool(key) and listing.response.get("Error", {}).get("Code") == "AccessDenied"
            return error if about_listing else listing
        except SDK_FAULTS:
            return error
        return error


def _holds(stored: StoredObject, written: Replacement) -> bool:
    """Whether the object is what was to be written."""
    if isinstance(written.content, bytes):
        return stored.path.stat().st_size == len(written.content) and stored.path.read_bytes() == written.content
    return filecmp.cmp(stored.path, written.content, shallow=False)


_BROKEN_HINT = "Run again. If it lasts, look at the network and the proxies between here and AWS_ENDPOINT_URL_S3."


class _BrokenBodyError(StoreError):
    """A body that broke off or was changed on its way; to read it again may help."""


def _pieces(reply: Mapping[str, Any], uri: str, clock: Callable[[], float]) -> Iterator[bytes]:
    """The body of a reply to GetObject, in pieces as they arrive.

    Raises:
        _BrokenBodyError: it broke off, was shortened, or came too slowly.
    """
    stream = reply["Body"]
    seconds = _BODY_SECONDS + reply.get("ContentLength", 0) / _SLOWEST_BYTES_PER_SECOND
    stream._raw_stream = _Timed(stream._raw_stream, clock, seconds)
    try:
        yield from stream.iter_chunks(_CHUNK_BYTES)
    except (BotoCoreError, HTTPError, TimeoutError) as error:
        # The rest of it is not waited for.
        stream.close()
        reason = "it came too slowly" if isinstance(error, TimeoutError) else type(error).__name__
        raise _BrokenBodyError(f"{uri} broke off while it was read ({reason}).", hint=_BROKEN_HINT) from None


class _Timed:
    """A stream that gives what has arrived instead of waiting for all that was asked for, until its time is over."""

    def __init__(self, stream: Any, clock: Callable[[], float], seconds: float) -> None:
        self._stream, self._clock = stream, clock
        self._end = clock() + seconds

    def read(self, amount: int) -> bytes:
        """At most ``amount`` bytes; none at the end.

        Raises:
            TimeoutError: it took too long.
        """
        if self._clock() > self._end:
            raise TimeoutError
        piece: bytes = self._stream.read1(amount)
        return piece

    def close(self) -> None:
        """Give the connection up."""
        self._stream.close()
