"""Units and addresses as people write them in a configuration file: 128MiB, 30s, 127.0.0.1:8080.

Each type parses text into plain numbers, prints itself back as text (so a dumped model loads again), and
describes both in the JSON Schema.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

KiB, MiB = 2**10, 2**20
SECOND, MINUTE = 1000, 60_000

_BYTES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", re.ASCII)


def parse_bytes(value: object) -> int:
    """Number of bytes of ``128MiB``, ``1MB`` or a plain whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _quantity(value, _BYTES, "must be a size like 128MiB, 1MB or 65536")


def parse_duration(value: object) -> int:
    """Milliseconds of ``500ms``, ``30s``, ``5m``, ``1h`` or ``7d``; a bare number is refused."""
    return _quantity(value, _MILLISECONDS, "must be a duration with its unit, like 500ms, 30s, 5m or 1h")


def _quantity(value: object, units: Mapping[str, int], problem: str) -> int:
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        raise ValueError(problem)
    return round(Decimal(match[1]) * units[match[2].lower()])


def format_bytes(value: int) -> str:
    """The shortest exact text of a size: 134217728 is ``128MiB``, 1000 is ``1000B``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _BYTES[unit.lower()]
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return f"{value}B"


def format_duration(value: int) -> str:
    """The shortest exact text of a duration in milliseconds: 300000 is ``5m``."""
    for unit in ("d", "h", "m", "s"):
        factor = _MILLISECONDS[unit]
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return f"{value}ms"


def split_listen(value: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:8080`` or ``[::1]:8080``; port 0 is any free one."""
    host, colon, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    ambiguous = ":" in bare and bare == host
    if not colon or not bare or ambiguous or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError("must be host:port, like 127.0.0.1:8080")
    return bare, int(port)


def check_listen(value: str) -> str:
    """The address itself, when it is one."""
    split_listen(value)
    return value


def check_url(value: str) -> str:
    """An http or https URL, without a trailing slash; credentials have options of their own."""
    if "@" in value:  # looked at first: other messages quote the value
        raise ValueError("must not carry a user and password; give them as options of the sink")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("must be a URL like http://127.0.0.1:9870")
    if parts.query or parts.fragment:
        raise ValueError("must be a server's address, without ?query and #fragment")
    return value.rstrip("/")


def as_list(value: object) -> object:
    """One value, or a list of them: always a list afterwards."""
    return [value] if isinstance(value, str) else value


def _schema(kind: str, example: str, *types: str) -> WithJsonSchema:
    return WithJsonSchema({"type": list(types), "examples": [example], "x-kind": kind})


def _text(value: object) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(format_bytes),
    _schema("size", "128MiB", "integer", "string"),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    _schema("duration", "30s", "string"),
]
Listen = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(check_listen),
    _schema("host:port", "127.0.0.1:8080", "string"),
]
Url = Annotated[str, AfterValidator(check_url)]
Urls = Annotated[
    list[Url], BeforeValidator(as_list), _schema("URL or list", "http://127.0.0.1:9200", "string", "array")
]
