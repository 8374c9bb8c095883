"""Where a bounded read starts and ends, as people write it: 5, "latest", "-1h", a datetime."""

import re
import time
from datetime import UTC, datetime, timedelta

from .errors import ConfigError

Bound = int | str | datetime
"""An offset, a time, ``earliest`` or ``latest``; text may be any of them, or time before now like ``-1h``."""

CoreBound = tuple[str, int]
"""The bound as the core takes it: ``earliest``, ``latest``, ``offset`` or ``time``, and its number."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_WAYS = 'give an offset, a datetime or its ISO 8601 text, time before now like "-1h", "earliest" or "latest"'


def parse(value: Bound, name: str = "bound") -> CoreBound:
    """The bound of this value; ``name`` is what the message of a ConfigError calls it.

    A datetime without a zone is local time. Kafka counts milliseconds: a time between two is the later one,
    so that what is before it and what is not stay apart.
    """
    if isinstance(value, datetime):
        return "time", _milliseconds(value)
    if isinstance(value, str):
        return _parse_text(value.strip(), name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return "offset", value
    raise ConfigError(f"read: {name} {value!r}: {_WAYS}", op="read")


def _parse_text(text: str, name: str) -> CoreBound:
    if text in ("earliest", "latest"):
        return text, 0
    if re.fullmatch("[0-9]{1,18}", text):
        return "offset", int(text)
    try:
        if text.startswith("-"):
            return "time", max(0, int(time.time() * 1000) - _duration(text[1:]))
        return "time", _milliseconds(datetime.fromisoformat(text))
    except ValueError:
        raise ConfigError(f"read: {name} {text!r}: {_WAYS}", op="read") from None


def _duration(text: str) -> int:
    from ._units import parse_duration  # noqa: PLC0415 - the clients do without its models

    return parse_duration(text)


def _milliseconds(moment: datetime) -> int:
    return max(0, -((EPOCH - moment.astimezone(UTC)) // timedelta(milliseconds=1)))
