"""The collector's part of the configuration; kafkapipe/config.py puts it into the whole."""

import ipaddress
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from . import _event_values, _fields
from ._section import Section
from ._units import MINUTE, SECOND, Bytes, Duration, KiB, Listen, MiB, as_list

Ack = Literal["kafka", "queued"]

_SECRET_CHARACTERS = 16


def _constant_or_value(value: object) -> object:
    if isinstance(value, str):
        _event_values.parse(value)
    elif not (value is None or isinstance(value, bool | int | float)):
        raise ValueError("must be a value like $query.user, text, a number, true, false or null")
    return value


def _text_template(text: str) -> str:
    _event_values.pieces(text)
    return text


def _one_value(text: str) -> str:
    found = _event_values.pieces(text)
    if len(found) != 1 or isinstance(found[0], str) or found[0].kind in ("now", "uuid"):
        raise ValueError(
            "must name a value of the request, like $body.id, $header.idempotency-key or $query.id"
        )
    return text


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an address or a network, like 10.0.0.7 or 10.0.0.0/8") from None
    return text


def _named_by_themselves(value: object) -> object:
    return (
        {each: each for each in value}
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value)
        else value
    )


def _secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < _SECRET_CHARACTERS:
        raise ValueError(
            f"must have at least {_SECRET_CHARACTERS} characters: openssl rand -hex 32 makes one"
        )
    return value


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", name):
        raise ValueError("the name of a header is printable ASCII without spaces")
    return name


EventValue = Annotated[
    Any,
    BeforeValidator(_constant_or_value),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"], "x-kind": "value"}),
]
TextTemplate = Annotated[str, AfterValidator(_text_template)]
OneValue = Annotated[str, AfterValidator(_one_value)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Network = Annotated[str, AfterValidator(_network)]


class RateConfig(Section):
    """How many events are taken over time: a bucket of burst events, filled at per_second; more is 429."""

    per_second: float = Field(gt=0, le=1_000_000_000)
    """Events a second that may go on for ever."""
    burst: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Events at once after a pause; as many as a second's by default."""

    @property
    def capacity(self) -> float:
        """Events that a full bucket holds."""
        return float(self.burst if self.burst is not None else max(1.0, self.per_second))


class LimitsConfig(Section):
    """How much one request may carry; more is answered with 413, 400 or 429."""

    body: Bytes = Field(default=1 * MiB, ge=1, le=64 * MiB)
    """Largest body of a POST, also after gzip is undone."""
    events: int = Field(default=1000, ge=1, le=100_000)
    """Most events in one body."""
    field: Bytes = Field(default=4 * KiB, ge=1)
    """Largest value that a template takes from a header, the query or the path."""
    rate: RateConfig | None = None
    """Events from one address (IPv6: from one /64 network); unlimited by default."""


class TopicChoice(Section):
    """The topic by a value of the request; only those of the list can be written to."""

    by: OneValue
    """What chooses: $path.NAME, $query.NAME, $header.NAME or $body.FIELD."""
    allow: Annotated[
        dict[str, _fields.Topic],
        BeforeValidator(_named_by_themselves),
        WithJsonSchema({"type": "object", "x-kind": "list or mapping"}),
    ] = Field(min_length=1)
    """Topics that may be named, or a mapping from what is named to its topic."""


class RouteConfig(Section):
    """One method and path of the collector, and the topic that its events go to."""

    method: Literal["GET", "POST"]
    """GET makes one event from the request by the event template; POST takes the events from the body."""
    path: _fields.RoutePath
    """Path of the URL, from the root; a part may be a parameter, as in /e/{site}."""
    topic: Annotated[
        Annotated[TopicChoice, Tag("choice")] | Annotated[_fields.Topic, Tag("name")],
        Discriminator(lambda value: "name" if isinstance(value, str) else "choice"),
    ]
    """Topic that the events are sent to, or how it is chosen."""
    cors: list[str] = Field(default=[])
    """Origins whose pages may call this route; "*" is any."""
    event: dict[str, EventValue] | None = None
    """Fields of the event in their order: $now, $uuid, $ip, $header.NAME, $query.NAME, $path.NAME, for a POST
    also $body (the whole event) and $body.FIELD, or constants; a ? at the end ("$header.referer?", in quotes)
    makes a value optional. A POST without a template passes its events on byte for byte."""
    key: TextTemplate | None = None
    """Template of the record's key, like $query.user or $path.site-$body.user.id; none by default."""
    headers: dict[Annotated[str, AfterValidator(_header_name)], TextTemplate] = Field(default={})
    """Record headers and their templates; traceparent and tracestate of the request are passed on anyway."""
    event_id: OneValue | None = None
    """What tells a repeated event, like $body.id or $header.idempotency-key: it is produced once."""
    ack: Ack | None = None
    """Overrides the collector's ack."""
    answer: Literal["default", "gif", "no-content"] = "default"
    """What a taken request is answered with: default (GET: empty, POST: JSON), an empty 1x1 GIF, or 204."""
    auth: Literal["public", "key", "signed"] = "public"
    """Who may write: anybody; who has one of the collector's keys; who signs the request with one."""
    limits: LimitsConfig = LimitsConfig()
    """How much one request may carry."""

    @property
    def topics(self) -> set[str]:
        """Every topic that it can write to."""
        return {self.topic} if isinstance(self.topic, str) else set(self.topic.allow.values())

    @property
    def parameters(self) -> list[str]:
        """Names of the parts of the path that are parameters."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def _values(self) -> list[_event_values.Value]:
        fields = [_event_values.parse(each) for each in (self.event or {}).values() if isinstance(each, str)]
        by = None if isinstance(self.topic, str) else self.topic.by
        texts = [self.key, *self.headers.values(), self.event_id, by]
        made = [piece for text in texts if text for piece in _event_values.pieces(text)]
        return [each for each in fields + made if isinstance(each, _event_values.Value)]

    @model_validator(mode="after")
    def _events_come_from_somewhere(self) -> Self:
        if self.method == "GET" and not self.event:
            raise ValueError("a GET route needs an event template: what the event is made of")
        if self.event is not None and not self.event:
            raise ValueError("the event template is empty; leave it out to pass the events on as they come")
        return self

    @model_validator(mode="after")
    def _values_exist(self) -> Self:
        for value in self._values():
            if value.kind == "body" and self.method == "GET":
                raise ValueError(f"a GET has no body that $body.{value.name} could come from; use POST")
            if value.kind == "path" and value.name not in self.parameters:
                raise ValueError(f"$path.{value.name}: the path has no part {{{value.name}}}")
        return self


Route = RouteConfig
"""The name of it in Python: ``kp.Route``."""


class KeyConfig(Section):
    """A write key: who has it may use routes with auth: key, or sign requests for those with auth: signed."""

    secrets: Annotated[list[Secret], BeforeValidator(as_list)] = Field(min_length=1)
    """The secret, or several while they are changed; write ${NAME} or ${file:PATH} here, not the secret."""
    routes: list[_fields.RoutePath] | None = Field(default=None, min_length=1)
    """Paths of the routes that it opens; all by default."""
    rate: RateConfig | None = None
    """Events with this key; unlimited by default."""


class ServerLimitsConfig(Section):
    """What all requests and connections together may take, and how slow a client may be."""

    connections: int = Field(default=10_000, ge=1)
    """Most connections at once; one more is answered with 503."""
    in_flight: Bytes = Field(default=64 * MiB, ge=64 * KiB)
    """Most memory for bodies that are being received or not yet answered; more is answered with 503."""
    headers: Bytes = Field(default=16 * KiB, ge=256, le=1 * MiB)
    """Largest head of a request: its first line and headers; a larger one is answered with 431."""
    first_byte: Duration = Field(default=5 * SECOND, ge=10)
    """How long a new connection may be silent."""
    head: Duration = Field(default=10 * SECOND, ge=10)
    """How long the head of a request may take to arrive."""
    body: Duration = Field(default=30 * SECOND, ge=10)
    """How long the body of a request may take to arrive."""
    keep_alive: Duration = Field(default=5 * SECOND, ge=10)
    """How long a connection may be silent between two requests."""


class DuplicatesConfig(Section):
    """How long and how many event ids are remembered."""

    window: Duration = Field(default=10 * MINUTE, ge=1 * SECOND)
    """How long a repeated event is known as such."""
    events: int = Field(default=100_000, ge=1, le=10_000_000)
    """Most ids that are remembered (about 300 bytes each); the oldest are forgotten first."""


class SignedConfig(Section):
    """Requests that are signed with a key."""

    window: Duration = Field(default=5 * MINUTE, ge=1 * SECOND, le=60 * MINUTE)
    """How far the time in a signed request may be from the collector's; within it a request is taken once."""


class CollectorConfig(Section):
    """The HTTP server that turns requests into records."""

    listen: Listen = "127.0.0.1:8080"
    """Address and port of the collector and its page."""
    ack: Ack = "kafka"
    """kafka: answer when the broker has the record; queued: answer when the local queue has it."""
    ack_timeout: Duration = Field(default=10 * SECOND, ge=10, le=5 * MINUTE)
    """How long Kafka may take to confirm before a request is answered with 503."""
    routes: list[RouteConfig] = Field(default=[])
    """What the collector takes."""
    keys: dict[_fields.Name, KeyConfig] = Field(default={}, repr=False)
    """Write keys by name, for routes with auth: key or auth: signed."""
    signed: SignedConfig = SignedConfig()
    """Requests that are signed with a key."""
    duplicates: DuplicatesConfig = DuplicatesConfig()
    """How long and how many ids of routes with event_id are remembered."""
    spool: str | None = Field(default=None, min_length=1)
    """File for events that Kafka does not take now: they are answered with 202, on disk, and go to Kafka
    later, in their order. Each collector needs one of its own. Without one they are answered with 503."""
    spool_bytes: Bytes = Field(default=1024 * MiB, ge=64 * KiB)
    """Most that the spool keeps; more is answered with 503."""
    spool_after: Duration = Field(default=2 * SECOND, ge=100, le=9 * SECOND)
    """How long Kafka may be silent until events go to the spool; at most half of ack_timeout."""
    limits: ServerLimitsConfig = ServerLimitsConfig()
    """What all requests and connections together may take, and how slow a client may be."""
    trusted_proxies: list[Network] = Field(default=[])
    """Addresses or networks of proxies whose X-Forwarded-For is believed; none by default."""

    @property
    def topics(self) -> set[str]:
        """Every topic that can be written to."""
        return {topic for route in self.routes for topic in route.topics}

    @model_validator(mode="after")
    def _routes_differ(self) -> Self:
        seen: set[tuple[str, str]] = set()
        for route in self.routes:
            place = (route.method, re.sub(r"\{[^}]*\}", "{}", route.path))
            if place in seen:
                raise ValueError(f"two routes take {route.method} {route.path}")
            seen.add(place)
        return self

    @model_validator(mode="after")
    def _closed_routes_have_a_key(self) -> Self:
        for route in self.routes:
            open_to = [key for key in self.keys.values() if key.routes is None or route.path in key.routes]
            if route.auth != "public" and not open_to:
                raise ValueError(f"{route.method} {route.path} has auth: {route.auth}, but no key opens it")
        paths = {route.path for route in self.routes}
        for name, key in self.keys.items():
            for path in key.routes or []:
                if path not in paths:
                    raise ValueError(f"keys.{name}.routes: no route has the path {path}")
        return self
