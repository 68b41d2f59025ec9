"""The forms of settings' values, and in plain words what is wrong with one.

A problem is the end of a sentence that begins with the variable's name: "holds 'fast', which is no number; write a
number above 0 such as 5". No sentence repeats a secret, nor an address, which can hold one. What takes a value returns
it in its usual form, or raises a ``ValueError`` with the problem.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic_core import ErrorDetails

from toast_assets.http.network import plain_http_problem
from toast_assets.http.own_secrets import fits_a_header

_LONGEST_SHOWN = 60
_QUOTATION_MARKS = frozenset("\"'`“”„‘’«»")
# Control, format and unpaired surrogate characters, line and paragraph separators: an editor does not show them.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_CONTROLS = {"\0": "NUL", "\t": "a tab", "\n": "a line feed", "\r": "a carriage return"}

# A GUID becomes part of keys and headers. Toast's are UUIDs, the guide's examples are not.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_PREFIX = 700
_AMPERITY = ".amperity.com"

# By pydantic's type of an error, what a value is.
_WRONG = {
    "float_parsing": "which is no number",
    "int_parsing": "which is no whole number",
    "int_parsing_size": "which is no whole number of usual size",
    "int_from_float": "which is no whole number",
    "finite_number": "which is no finite number",
    "greater_than": "which is too small",
    "greater_than_equal": "which is too small",
    "less_than": "which is too large",
    "less_than_equal": "which is too large",
    "literal_error": "which is none of the values that it can have",
}


def shown(value: str) -> str:
    """A value in a sentence: quoted, shortened, and with escapes for what cannot be seen."""
    return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…")


def spoilt(value: str, *, is_list: bool) -> str | None:
    """What cannot be meant in a value that was typed or mounted; None if it is clean. Lists may have several lines."""
    if len(value) > 1 and {value[0], value[-1]} <= _QUOTATION_MARKS:
        return "is in quotation marks; write it without them"
    for position, character in enumerate(value, 1):
        if unicodedata.category(character) in _INVISIBLE and not (is_list and character in "\t\r\n"):
            code = f"U+{ord(character):04X}"
            name = _CONTROLS.get(character) or f"the invisible character {unicodedata.name(character, code)} ({code})"
            return f"holds {name} as character {position}; write it again without"
    return None


def problem(details: ErrorDetails, value: str, rule: Mapping[str, Any]) -> str:
    """What pydantic found, by its type of error, the variable's ``value`` and the field's JSON schema."""
    if details["type"] == "missing":
        return "is not set"
    if details["type"] == "too_short":
        return "holds nothing but separators"
    if why := _WRONG.get(details["type"]):
        return f"holds {shown(value)}, {why}; write {_wanted(rule)}"
    return str(details["msg"]).removeprefix("Value error, ")


def _wanted(rule: Mapping[str, Any]) -> str:
    """What a field takes, by its JSON schema."""
    one = {**rule, **next((each for each in rule.get("anyOf", ()) if each.get("type") != "null"), {})}
    if "enum" in one:
        return " or ".join(one["enum"])
    words = ["a whole number" if one["type"] == "integer" else "a number"]
    if "exclusiveMinimum" in one:
        words.append(f"above {one['exclusiveMinimum']} and at most {one['maximum']}")
    else:
        words.append(f"from {one['minimum']} to {one['maximum']}")
    if one.get("default") is not None:
        words.append(f"such as {one['default']:g}" if one["default"] < 1e5 else f"such as {one['default']:.0f}")
    return " ".join(words)


def split(value: object) -> object:
    """The items of a list: separated by commas, with blanks and line ends around them."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def identifier(value: str) -> str:
    """A restaurant's GUID."""
    if not is_identifier(value):
        raise ValueError(f"holds {shown(value)}, which is not a GUID: these are letters, digits, '-' and '_'")
    return value


def is_identifier(text: str) -> bool:
    """Whether a text can be a restaurant's GUID."""
    return _IDENTIFIER.fullmatch(text) is not None


def address(value: str) -> httpx.URL:
    """An address of a service, by https, or by http on this machine and to the hosts that are allowed."""
    if re.search(r"\s", value):
        raise ValueError("holds a blank; addresses have none")
    try:
        url = httpx.URL(value)
        # Both forms of an international name: clients use one, messages the other.
        host, _ = url.raw_host.decode(), url.host
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("is no address: its host or its port cannot be read") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError("is not an http(s) URL such as https://host.example")
    if url.userinfo:
        raise ValueError("holds a user name or a password before the host; write it without")
    if not is_host(host):
        raise ValueError(f"names the host {shown(host)}, which is no host name")
    if url.port is not None and not 0 < url.port < 65_536:
        raise ValueError(f"names the port {url.port}; ports are 1 to 65535")
    if insecure := plain_http_problem(value):
        raise ValueError(insecure)
    return url


def is_host(text: str) -> bool:
    """Whether a text is a host's name, in ASCII, or an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.lower().removesuffix(".").split(".")
        return len(text) < 255 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdecimal()
    return True


def origin(value: str) -> str:
    """Scheme, host and port of an address."""
    url = address(value)
    return f"{url.scheme}://{url.netloc.decode()}"


def exact_url(value: str) -> str:
    """An address, to the letter."""
    address(value)
    return value


def base_url(value: str) -> str:
    """An address that paths are added to."""
    url = address(value)
    if url.query or url.fragment:
        raise ValueError("has a query or a fragment; write the address up to its path")
    return value.rstrip("/")


def tenant(value: str) -> str:
    """Amperity's tenant: one DNS label, of ``x.amperity.com`` and its URL the first one."""
    text = value.lower()
    if "." in text:
        try:
            url = httpx.URL(text if "://" in text else f"https://{text}")
            if not url.userinfo and url.port is None and url.host.endswith(_AMPERITY):
                text = url.host.removesuffix(_AMPERITY)
        except (httpx.InvalidURL, UnicodeError):
            pass
    if not _LABEL.fullmatch(text) or not host_of(f"https://{text}{_AMPERITY}"):
        raise ValueError(f"is no tenant; write the part before {_AMPERITY} alone: socktown of socktown{_AMPERITY}")
    return text


def tenant_of_host(url: str | None) -> str | None:
    """``socktown`` of ``https://socktown.amperity.com/…``; None for another host, and for what is no address."""
    host = host_of(url)
    return host.split(".")[0] or None if host.endswith(_AMPERITY) else None


def host_of(url: str | None) -> str:
    """The host of an address; empty for what is none."""
    try:
        return httpx.URL(url or "").host
    except (httpx.InvalidURL, UnicodeError):
        return ""


def header_safe(value: str) -> str:
    """A text that a header may hold. It can be a secret, so the problem does not repeat it."""
    if not fits_a_header(value):
        raise ValueError("holds a space or another character that no header may hold")
    return value


def token(value: str) -> str:
    """A bearer token."""
    if value.lower().startswith("bearer "):
        raise ValueError("begins with 'Bearer'; write the token alone")
    return header_safe(value)


def bucket_name(value: str) -> str:
    """A bucket's name (Amazon S3: general purpose bucket naming rules)."""
    if value.startswith("arn:"):
        # What protects a bucket cannot be looked up through an access point.
        raise ValueError("is an ARN; write the bucket's name, also where there is an access point")
    if "://" in value:
        raise ValueError("is a URL; write the bucket's name, and what follows it into S3_PREFIX")
    if "/" in value:
        raise ValueError(f"holds {shown(value)}; write the bucket's name alone, and what follows '/' into S3_PREFIX")
    if not _BUCKET.fullmatch(value) or ".." in value or not is_host(value) or value.replace(".", "").isdecimal():
        raise ValueError(
            f"holds {shown(value)}, which no bucket is called: names are 3 to 63 lower-case letters, digits,"
            " '-' and '.', begin and end with a letter or digit, and are no IP address"
        )
    return value


def prefix(value: str) -> str:
    """A prefix of keys: it begins with no slash, and ends with one unless it is empty. Keys have at most 1024 bytes
    (Amazon S3: object keys)."""
    path = value.strip("/")
    if len(path.encode()) > _LONGEST_PREFIX:
        raise ValueError(f"is longer than {_LONGEST_PREFIX} bytes; keys have 1024 at most")
    return f"{path}/" if path else ""
