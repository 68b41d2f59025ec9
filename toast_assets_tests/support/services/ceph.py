"""A real S3 server: Ceph's object gateway on one monitor and one store in memory, on loopback ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from toast_assets_tests.support.services.compose import Process, listens
from toast_assets_tests.support.services.ports import free_port

ACCESS_KEY, SECRET_KEY = "ceph-access", "ceph-secret"
_PACKAGES = "apt-get install --yes --no-install-recommends radosgw ceph-mon ceph-osd"
_CONF = """[global]
fsid = {fsid}
keyring = {folder}/keyring
mon host = v2:127.0.0.1:{mon}
run dir = {folder}/run
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
auth allow insecure global id reclaim = false
public addr = 127.0.0.1
ms bind msgr1 = false
"""


@contextmanager
def ceph() -> Iterator[str]:
    """The gateway's address; skips the test where Ceph is not installed."""
    if not all(map(shutil.which, ("ceph-mon", "ceph-osd", "radosgw", "ceph"))):
        pytest.skip(f"Ceph is not installed: {_PACKAGES}")
    with tempfile.TemporaryDirectory(prefix="ceph-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder, mon, port, fsid = Path(name), free_port(), free_port(), str(uuid.uuid4())
        for each in ("mon", "osd", "run", "rgw"):
            (folder / each).mkdir()
        (folder / "ceph.conf").write_text(_CONF.format(fsid=fsid, folder=folder, mon=mon))
        environment = {"PATH": os.environ["PATH"], "CEPH_CONF": str(folder / "ceph.conf")}

        def run(line: str) -> None:
            subprocess.run(line.split("|"), check=True, capture_output=True, env=environment, timeout=600)  # noqa: S603

        def start(line: str) -> Process:
            command = line.split("|")
            return stack.enter_context(Process(command, environment, folder, folder / f"{command[0]}.out"))

        keys = f"{folder}/keyring"
        run(f"ceph-authtool|--create-keyring|{keys}|--gen-key|-n|mon.|--cap|mon|allow *")
        run(f"ceph-authtool|{keys}|--gen-key|-n|client.admin|--cap|mon|allow *|--cap|osd|allow *")
        run(f"ceph-authtool|{keys}|--gen-key|-n|osd.0|--cap|mon|allow profile osd|--cap|osd|allow *")
        run(f"monmaptool|--create|--fsid|{fsid}|--addv|a|[v2:127.0.0.1:{mon}]|{folder}/monmap")
        run(f"ceph-mon|--mkfs|-i|a|--monmap|{folder}/monmap|--keyring|{keys}")
        start("ceph-mon|-f|-i|a").wait_until(lambda: listens(mon))
        osd = str(uuid.uuid4())
        run(f"ceph|osd|new|{osd}")
        run(f"ceph-osd|-i|0|--mkfs|--osd-uuid|{osd}")
        start("ceph-osd|-f|-i|0")
        gateway = start(
            f"radosgw|-f|-n|client.admin|--rgw-frontends=beast endpoint=127.0.0.1:{port}|--rgw-data={folder}/rgw"
        )
        gateway.wait_until(lambda: listens(port))
        run(f"radosgw-admin|user|create|--uid=t|--display-name=t|--access-key={ACCESS_KEY}|--secret={SECRET_KEY}")
        yield f"http://127.0.0.1:{port}"
