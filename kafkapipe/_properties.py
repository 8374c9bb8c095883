"""librdkafka's properties as the clients take them: keywords, mappings, defaults; every name is checked."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache

from . import _core
from .errors import ConfigError

_SERVER = re.compile(
    r"((plaintext|ssl|sasl_plaintext|sasl_ssl)://)?([^\s:/@]+|\[[0-9a-f:.%]+\])(:(?P<port>[0-9]{1,6}))?", re.I
)

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"

Value = str | int | float | bool

CLIENT_DEFAULTS = {"client.id": "kafkapipe", "socket.nagle.disable": "true"}
"""What every client has unless told otherwise."""


@cache
def known() -> frozenset[str]:
    """The names of all properties of the librdkafka that is linked."""
    return frozenset(_core.kafka_properties())


def collect(
    bootstrap: str | None, config: Mapping[str, Value] | None, keywords: Mapping[str, Value]
) -> dict[str, str]:
    """What the caller gave, under librdkafka's names; a keyword ``a_b`` is the property ``a.b``.

    Without a server, ``KAFKAPIPE_BOOTSTRAP`` or the local one is taken. Raises ConfigError for a name that
    librdkafka does not know, with the nearest one.
    """
    given = {name: _text(name, value) for name, value in (config or {}).items()}
    given |= {name.replace("_", "."): _text(name, value) for name, value in keywords.items()}
    if bootstrap is not None:
        given["bootstrap.servers"] = _servers(bootstrap)
    elif "metadata.broker.list" not in given:
        given.setdefault("bootstrap.servers", os.environ.get("KAFKAPIPE_BOOTSTRAP") or DEFAULT_BOOTSTRAP)
    for name in given:
        _check(name)
    if "bootstrap.servers" in given:
        _servers(given["bootstrap.servers"])
    return given


def producer_defaults(given: Mapping[str, str]) -> dict[str, str]:
    """What a producer has unless told otherwise: nothing lost and nothing twice.

    Who asks for fewer acknowledgements does not get the idempotence that needs all of them.
    """
    acks = given.get("acks", given.get("request.required.acks", "all"))
    idempotent = "true" if acks in ("all", "-1") else "false"
    defaults = {**CLIENT_DEFAULTS, "enable.idempotence": idempotent}
    return defaults if "request.required.acks" in given else {**defaults, "acks": "all"}


def collect_consumer(
    bootstrap: str | None, config: Mapping[str, Value] | None, keywords: Mapping[str, Value]
) -> dict[str, str]:
    """As ``collect``; says what a library needs that does not have the new group protocol."""
    new = {"group.protocol", "group.remote.assignor"} - known()
    if new & {*(config or {}), *(name.replace("_", ".") for name in keywords)}:
        version = _core.versions()["librdkafka"]
        raise ConfigError(
            f"kafka property group.protocol: it needs librdkafka 2.12, this is {version}: leave it out"
        )
    return collect(bootstrap, config, keywords)


def consumer_defaults(given: Mapping[str, str]) -> dict[str, str]:
    """What a consumer has unless told otherwise: nothing is committed that nobody asked for.

    With the new group protocol the broker chooses who gets what.
    """
    defaults = {**CLIENT_DEFAULTS, "enable.auto.commit": "false"}
    if given.get("group.protocol") == "consumer":
        return defaults
    return {**defaults, "partition.assignment.strategy": _core.kafka_default_assignor()}


def _text(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ConfigError(f"kafka property {name} is {type(value).__name__}: give text, a number or a bool")


def _servers(value: object) -> str:
    """The list of servers itself; ConfigError for what librdkafka would take and then never reach."""
    servers = value.split(",") if isinstance(value, str) else [value]
    for server in servers:
        match = _SERVER.fullmatch(server.strip()) if isinstance(server, str) else None
        if match is None or int(match["port"] or 0) > 65535:
            raise ConfigError(
                f"kafka property bootstrap.servers: {server!r:.80} is no address: "
                "give HOST:PORT, several with commas between",
                code="bootstrap.servers",
            )
    return str(value)


def _check(name: str) -> None:
    if name in known():
        return
    close = get_close_matches(name, known(), n=1)
    advice = f'; did you mean "{close[0]}"?' if close else ""
    raise ConfigError(f"kafka property {name}: librdkafka knows none of this name{advice}", code=name)
