"""The stand-in for S3: moto's application in a thread of this process, with one bucket per sandbox.

Moto's buckets belong to the process, not to a server: every sandbox therefore has a bucket name of its own and removes
only that bucket when it closes. A ``moto.mock_aws`` elsewhere in the process would still empty them all.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import uuid4

REGION = "us-east-1"
# The account that moto gives every unknown access key.
_ACCOUNT = "123456789012"


class S3:
    """Moto's application on a listening socket, and one bucket."""

    def __init__(self, listener: socket.socket, bucket: str | None) -> None:
        # Importing moto takes most of a second: only those who start a sandbox pay for it.
        from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
        from moto.s3.models import s3_backends
        from werkzeug.serving import make_server

        # The server logs a line per request, which would drown the pipeline's own log.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        app: Any = create_backend_app("s3")
        host, port = listener.getsockname()[:2]
        self._server = make_server(
            host, port, app, threaded=True, request_handler=MotoRequestHandler, fd=listener.fileno()
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.bucket = bucket or f"toast-orders-{uuid4().hex[:12]}"
        self._backend: Any = s3_backends[_ACCOUNT]["aws"]
        self._backend.create_bucket(self.bucket, REGION)

    def objects(self) -> list[tuple[str, int]]:
        """Keys and sizes in bytes of what the bucket holds now, by key."""
        bucket = self._backend.buckets.get(self.bucket)
        # A copy, because requests change the bucket in another thread.
        held = dict(bucket.keys) if bucket else {}
        return sorted((key, versions[-1].size) for key, versions in held.items() if versions)

    def contents(self) -> dict[str, tuple[Callable[[], bytes], dict[str, str]]]:
        """What the bucket holds now, by key: how to read the object, and its headers as ``put`` takes them."""
        bucket = self._backend.buckets[self.bucket]
        found: dict[str, tuple[Callable[[], bytes], dict[str, str]]] = {}
        for key, versions in dict(bucket.keys).items():
            newest = versions[-1]
            # Of an object that came in parts; else it follows from the content.
            tag = {"ETag": newest.etag.strip('"')} if "-" in newest.etag else {}
            found[key] = (partial(getattr, newest, "value"), {**newest.metadata, **tag})
        return found

    def put(self, key: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Store an object."""
        others = dict(headers)
        stored = self._backend.put_object(self.bucket, key, body, etag=others.pop("ETag", None))
        stored.set_metadata(others)

    def clear(self) -> None:
        """Remove all objects."""
        bucket = self._backend.buckets[self.bucket]
        # Moto keeps the objects in temporary files, which would leak.
        for key in list(bucket.keys):
            bucket.keys.pop(key)
        for upload in bucket.multiparts.values():
            upload.dispose()

    def close(self) -> None:
        """Stops the server and removes the bucket."""
        self._server.shutdown()
        self._thread.join()
        if self.bucket in self._backend.buckets:
            self.clear()
            self._backend.delete_bucket(self.bucket)
