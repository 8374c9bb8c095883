"""The two kinds of route: one makes an event from the request itself, one takes the events from its body."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import _core
from .answers import Answer, Refusal, answer, json_answer
from .body import BodyReader, Receive, RequestHeaders
from .cors import Cors
from .delivery import Delivery
from .event_template import EventTemplate

if TYPE_CHECKING:
    from ..config import RouteConfig

Scope = Mapping[str, Any]


class TemplateRoute:
    """Makes one event from headers and query; answers 200 with an empty body when it is taken."""

    def __init__(self, config: "RouteConfig", delivery: Delivery, *, queued: bool) -> None:
        assert config.event is not None
        self._template = EventTemplate(config.event, max_field=config.limits.field)
        self._delivery = delivery
        self._topic = config.topic
        self._queued = queued
        self._done = answer(200, b"", (b"cache-control", b"no-store"))  # a cached answer is a lost event
        self.cors = Cors(config.cors, request_headers=self._template.header_names)

    async def __call__(self, scope: Scope, headers: RequestHeaders, receive: Receive) -> Answer:
        """Answer one request; raises Refusal."""
        event = self._template.render(headers, scope["query_string"])
        await self._delivery.take(self._topic, [event], queued=self._queued)
        return self._done


class BodyRoute:
    """Takes one JSON object, an array of objects or NDJSON: all events of a body, or none if one is invalid.

    An event goes to Kafka as the bytes it came in. Answers ``{"accepted": n}`` with 200 when Kafka has them,
    with 202 when only the local queue has (``ack: queued``).
    """

    def __init__(self, config: "RouteConfig", delivery: Delivery, body: BodyReader, *, queued: bool) -> None:
        self._body = body
        self._max_events = config.limits.events
        self._delivery = delivery
        self._topic = config.topic
        self._queued = queued
        self._status = 202 if queued else 200
        self._done: dict[int, Answer] = {}  # by number of events, so never more than max_events
        self.cors = Cors(config.cors)

    async def __call__(self, scope: Scope, headers: RequestHeaders, receive: Receive) -> Answer:
        """Answer one request; raises Refusal."""
        body = await self._body.read(headers, receive)
        events = self._events(body)
        await self._delivery.take(self._topic, events, queued=self._queued)
        count = len(events)
        done = self._done.get(count)
        if done is None:
            done = self._done[count] = json_answer(self._status, {"accepted": count})
        return done

    def _events(self, body: bytes | bytearray) -> list[bytes | bytearray]:
        spans, errors = _core.split_events(body, self._max_events)
        if errors and errors[-1][0] == self._max_events:
            detail = f"a body here has at most {self._max_events} events; none was taken"
            raise Refusal(413, "too many events", detail)
        if errors:
            index, reason = errors[0]
            others = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            rejected = [{"index": index, "reason": reason} for index, reason in errors]
            detail = f"event {index}: {reason}{others}; none was taken"
            raise Refusal(400, "invalid events", detail, more={"accepted": 0, "rejected": rejected})
        if not spans:
            raise Refusal(400, "no events", "send a JSON object, an array of objects, or one object per line")
        return [body[start:end] for start, end in spans]


Route = TemplateRoute | BodyRoute
