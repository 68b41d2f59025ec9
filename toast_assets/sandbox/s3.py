"""The stand-in for S3: moto's server in a thread of this process, with one bucket per sandbox.

Moto's buckets belong to the process, not to a server: every sandbox therefore has a bucket name of its own and removes
only that bucket when it closes. A ``moto.mock_aws`` elsewhere in the process would still empty them all.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from itertools import count
from typing import Any

REGION = "us-east-1"
# The account that moto gives every unknown access key.
_ACCOUNT = "123456789012"
_numbers = count(1)


class S3:
    """One moto server and one bucket; ``url`` is the endpoint."""

    def __init__(self, host: str, port: int, bucket: str | None) -> None:
        # Importing moto takes most of a second: only those who start a sandbox pay for it.
        from moto.s3.models import s3_backends
        from moto.server import ThreadedMotoServer

        # Moto's server logs a line per request, which would drown the pipeline's own log.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
        self._server.start()
        self.bucket = bucket or f"toast-orders-{next(_numbers)}"
        self._address = (host, self._server.get_host_and_port()[1])
        self.url = f"http://{host}:{self._address[1]}"
        self._backend: Any = s3_backends[_ACCOUNT]["aws"]
        self._backend.create_bucket(self.bucket, REGION)

    def objects(self) -> list[tuple[str, int]]:
        """Keys and sizes in bytes of what the bucket holds now, by key."""
        bucket = self._backend.buckets.get(self.bucket)
        # A copy, because requests change the bucket in another thread.
        held = dict(bucket.keys) if bucket else {}
        return sorted((key, versions[-1].size) for key, versions in held.items() if versions)

    def close(self) -> None:
        """Stops the server and takes the bucket away."""
        stopping = threading.Thread(target=self._server.stop)
        stopping.start()
        while stopping.is_alive():
            # The server looks for its end only between two connections, or twice a second.
            with contextlib.suppress(OSError):
                socket.create_connection(self._address, timeout=1).close()
            stopping.join(0.02)
        bucket = self._backend.buckets.get(self.bucket)
        if bucket is not None:
            # Moto keeps the objects in temporary files, which would leak.
            for key in list(bucket.keys):
                bucket.keys.pop(key)
            for upload in bucket.multiparts.values():
                upload.dispose()
            self._backend.delete_bucket(self.bucket)
