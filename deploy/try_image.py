"""Builds the image by deploy/Dockerfile without a container engine, and starts what it is for.

    python deploy/try_image.py [BASE.tar]

Needs root and Debian's buildah, mmdebstrap and bubblewrap; takes some minutes. The base image is made of Debian's
packages, with Debian's Python in the place of the base image's own (kept in BASE.tar where that is named, and taken
from there if it exists). Every instruction after FROM is executed as it is written. What is built then runs as an
orchestrator runs it: as the image's user, without capabilities, on a read-only file system with volumes and /tmp
writable, and without any network but its own loopback. Ends with 1 at the first thing that does not work.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FILE = ROOT / "deploy" / "Dockerfile"
PROGRAMS = ("buildah", "mmdebstrap", "bwrap")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")
_BASE = re.compile(r"^FROM (python:(3\.\d+)-slim-(\w+)) AS ", re.MULTILINE)
# Starts a server, asks it once a second until it answers, and makes sure that it still runs then.
_SERVES = """
{start} >/tmp/server.log 2>&1 & server=$!
for second in $(seq 60); do {asks} >/dev/null 2>&1 && break; sleep 1; done
kill -0 $server && {asks} || {{ tail /tmp/server.log; exit 1; }}
"""
_UI = "python -c 'import httpx; httpx.get(\"http://localhost:3000/server_info\").raise_for_status()'"
# An instance without a database beside it.
_ALONE = "mkdir /tmp/home; touch /tmp/home/dagster.yaml; export DAGSTER_HOME=/tmp/home; "
# What an image is for, by the build file's target: a title and what the shell is given inside. {command} is its CMD.
CHECKS = {
    "runtime": {
        "an ordinary user": 'test "$(id -u)" = 10001; grep -q "^CapBnd:.0*$" /proc/self/status',
        "a read-only file system": "! touch /anything /opt/dagster/anything /opt/venv/anything 2>/dev/null",
        "places to write to": "touch /tmp/anything /var/lib/dagster/anything",
        "secrets from files": "echo x > /tmp/s; export TOAST_CLIENT_SECRET_FILE=/tmp/s;"
        " with-secrets sh -c 'test $TOAST_CLIENT_SECRET = x'",
        "the command line": "toast-assets --help",
        "the definitions": _ALONE + "dagster definitions validate --module-name toast_assets.definitions",
        "the code location": _SERVES.format(start="{command}", asks="dagster api grpc-health-check --port 4000"),
        "the web server": _ALONE
        + "{command} & "
        + _SERVES.format(start="dagster-webserver --workspace workspace.yaml --port 3000", asks=_UI),
    },
    "sandbox": {"the whole weekly job": "cd /tmp; toast-assets demo"},
}


def main(arguments: list[str]) -> int:
    """Exit status: 0 all of it works, 1 something does not, 2 this machine cannot try it."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        print("Needs root and: apt-get install buildah mmdebstrap bubblewrap", file=sys.stderr)  # noqa: T201
        return 2
    with tempfile.TemporaryDirectory(prefix="toast-assets-image-") as folder:
        base = Path(arguments[0]) if arguments else Path(folder) / "base.tar"
        builder = Builder(Path(folder))
        try:
            builder.make_base(base)
            for target, checks in CHECKS.items():
                builder.build(target)
                print(f"{target}: built", flush=True)  # noqa: T201
                with builder.mounted(target) as (root, config):
                    for title, script in checks.items():
                        run_inside(root, config, script.replace("{command}", " ".join(config["Cmd"])), Path(folder))
                        print(f"{target}: {title}", flush=True)  # noqa: T201
        except subprocess.CalledProcessError as error:
            print(f"{error}\n{(error.stdout or '')[-4000:]}", file=sys.stderr)  # noqa: T201
            return 1
        finally:
            builder.close()
    return 0


class Builder:
    """Buildah, with images and containers of its own below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._buildah = ["buildah", "--root", str(folder / "images"), "--runroot", str(folder / "run")]
        # The base image is made here, so it cannot have the digest of the published one.
        self._file = folder / "Dockerfile"
        self._file.write_text(_DIGEST.sub("", FILE.read_text()))

    def make_base(self, tar: Path) -> None:
        """The image that the build file begins with, from ``tar``, which is made where it does not exist."""
        if (found := _BASE.search(self._file.read_text())) is None:
            raise ValueError(f"{FILE} begins with an image that is not Debian's Python")
        name, python, suite = found.groups()
        if not tar.exists():
            hooks = (
                f'ln -s /usr/bin/python{python} "$1/usr/local/bin/python"',
                f'rm --force "$1/usr/lib/python{python}/EXTERNALLY-MANAGED"',
            )
            packages = f"python{python},python{python}-venv,python3-pip,ca-certificates"
            options = [word for hook in hooks for word in ("--customize-hook", hook)]
            _call("mmdebstrap", "--variant=minbase", f"--include={packages}", *options, suite, str(tar))
        container = self._call("from", "scratch")
        self._call("add", "--quiet", container, str(tar), "/")
        self._call("commit", "--rm", "--quiet", container, f"docker.io/library/{name}")

    def build(self, target: str) -> None:
        """The build file's instructions up to the stage ``target``, which becomes the image of that name."""
        # The machine's own certificates, because a company's network may have one of its own.
        certificates = "/etc/ssl/certs:/etc/ssl/certs:ro"
        options = ["--isolation", "chroot", "--pull-never", "--layers", "--network", "host", "--volume", certificates]
        self._call("build", *options, "--file", str(self._file), "--target", target, "--tag", target, str(ROOT))

    @contextmanager
    def mounted(self, target: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The image's file system and its configuration (OCI), until the block ends."""
        container = self._call("from", "--pull-never", f"localhost/{target}")
        config = json.loads(self._call("inspect", container))["OCIv1"]["config"]
        try:
            yield Path(self._call("mount", container)), config
        finally:
            self._call("umount", container)

    def close(self) -> None:
        """Takes everything away again."""
        self._call("rm", "--all")
        self._call("rmi", "--all", "--force")

    def _call(self, *arguments: str) -> str:
        return _call(*self._buildah, *arguments)


def run_inside(root: Path, config: Mapping[str, Any], script: str, folder: Path) -> None:
    """Run a shell script in the image as an orchestrator would; raises CalledProcessError where it fails."""
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost code\n")
    user = config["User"]
    group = re.search(rf"^\w+:x:{user}:(\d+):", (root / "etc" / "passwd").read_text(), re.MULTILINE)
    if group is None:
        raise ValueError(f"the image has no user {user}")
    writable = {"/tmp", *config.get("Volumes", {})}  # noqa: S108 - inside
    command = ["bwrap", "--ro-bind", str(root), "/", "--ro-bind", str(hosts), "/etc/hosts", "--proc", "/proc"]
    command += ["--dev", "/dev", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net"]
    command += [word for place in sorted(writable) for word in ("--perms", "1777", "--tmpfs", place)]
    command += ["--die-with-parent", "--chdir", config["WorkingDir"], "--clearenv"]
    command += [word for variable in config["Env"] for word in ("--setenv", *variable.split("=", 1))]
    # Only what it takes to become the image's user, who then has nothing.
    command += ["--cap-drop", "ALL", *(word for what in ("SETUID", "SETGID", "SETPCAP") for word in _capability(what))]
    command += ["setpriv", f"--reuid={user}", f"--regid={group[1]}", "--clear-groups", "--no-new-privs"]
    _call(*command, "--inh-caps=-all", "--bounding-set=-all", "sh", "-ec", script)


def _capability(name: str) -> tuple[str, str]:
    return "--cap-add", f"CAP_{name}"


def _call(*command: str) -> str:
    """What a program prints, its messages included where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)  # noqa: S603
    return done.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
