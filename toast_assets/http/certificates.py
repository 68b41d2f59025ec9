"""The authorities whose certificates are believed: the built-in list (certifi's), or a company's own.

For Toast, Amperity and alerts ``SSL_CERT_FILE``, else ``SSL_CERT_DIR`` (a folder that ``openssl rehash`` prepared),
takes the place of the built-in list, as everywhere. Where neither is set, what is meant for other programs is
believed as well as the built-in list: the first of ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``, ``AWS_CA_BUNDLE``. S3
goes by ``AWS_CA_BUNDLE`` and ``REQUESTS_CA_BUNDLE``, as boto3 does, else by ``SSL_CERT_FILE``, ``CURL_CA_BUNDLE``; each
of them takes the built-in list's place there, and a folder is none that boto3 could use.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx

from toast_assets.errors import SettingsError

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
_OF_OTHERS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
_FOR_S3 = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", FILE, "CURL_CA_BUNDLE")


def tls_context() -> ssl.SSLContext:
    """How Toast, Amperity and alerts are reached by HTTPS.

    Raises:
        SettingsError: naming the variable and what is wrong with its file.
    """
    if variable := _first_set((FILE,)):
        return _context(variable, cafile=_file(variable))
    if variable := _first_set((FOLDER,)):
        return _context(variable, capath=_folder(variable))
    context = _context("")
    if variable := _first_set(_OF_OTHERS):
        _load(context, variable, _file(variable))
    return context


def in_use() -> str:
    """What ``tls_context`` goes by, for messages."""
    variable = _first_set((FILE, FOLDER, *_OF_OTHERS))
    return "the built-in list of authorities" if variable is None else f"{variable} ({os.environ[variable].strip()})"


def s3_ca_file() -> str | None:
    """The file for boto3's ``verify``; None where no variable names one, and boto3 goes by its own configuration.

    Raises:
        SettingsError: as ``tls_context``.
    """
    variable = _first_set(_FOR_S3)
    if variable is None:
        return None
    path = _file(variable)
    # botocore would say of an odd file only that TLS failed, and not before the first request.
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), variable, path)
    return path


def _first_set(variables: tuple[str, ...]) -> str | None:
    return next((variable for variable in variables if os.environ.get(variable, "").strip()), None)


def _file(variable: str) -> str:
    path = Path(os.environ[variable].strip())
    if path.is_dir():
        raise _problem(variable, f"names {path}, which is a folder; name a file of certificates (PEM)")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise _problem(variable, f"names {path}, which cannot be read ({error.strerror or error})") from None
    if empty:
        raise _problem(variable, f"names {path}, which is empty")
    return str(path)


def _folder(variable: str) -> str:
    path = Path(os.environ[variable].strip())
    if not path.is_dir():
        raise _problem(variable, f"names {path}, which is no folder")
    return str(path)


def _context(variable: str, *, cafile: str | None = None, capath: str | None = None) -> ssl.SSLContext:
    try:
        if cafile is None and capath is None:
            return httpx.create_ssl_context(trust_env=False)
        return ssl.create_default_context(cafile=cafile, capath=capath)
    except ssl.SSLError:
        raise _no_certificates(variable, cafile or capath or "") from None
    except OSError as error:
        # The standard library logs TLS keys where this variable says, and what was read above can be read.
        reason = f"names a file that cannot be written ({error.strerror or error})"
        raise _problem("SSLKEYLOGFILE", reason) from None


def _load(context: ssl.SSLContext, variable: str, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError):
        raise _no_certificates(variable, path) from None


def _no_certificates(variable: str, path: str) -> SettingsError:
    return _problem(variable, f"names {path}, which holds no certificates (PEM)")


def _problem(variable: str, problem: str) -> SettingsError:
    return SettingsError([f"{variable} {problem}"])
