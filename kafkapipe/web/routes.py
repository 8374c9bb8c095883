"""A route: what one method and path do with a request, from who may send it to what it is answered with.

``admit`` judges the head, ``take`` the whole request; neither waits. What has to be waited for is a Pending.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .. import _core
from .._collecting import RouteConfig, TopicChoice
from .answers import Answer, Refusal, answer, json_answer
from .body import PLAIN_TYPES, Body, BodyRules
from .careful import CarefulDelivery, Event
from .cors import Cors
from .delivery import Batch, Delivery, Pending, RecordHeaders
from .duplicates import Duplicates
from .event_template import EventProblem, EventTemplate, Source, TextTemplate, Values
from .keys import HEADERS as KEY_HEADERS
from .keys import Keys
from .rates import Buckets
from .request import Request, RequestHeaders, network_of

if TYPE_CHECKING:
    from .._core import BatchResult

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""One transparent pixel."""

_NO_STORE = (b"cache-control", b"no-store")  # a cached answer is a lost event
_TRACE = ((b"traceparent", "traceparent"), (b"tracestate", "tracestate"))


class Topic:
    """The topic of an event: always the same, or chosen from a list that nothing outside it can add to."""

    def __init__(self, config: str | TopicChoice, source: Source) -> None:
        self.name = config if isinstance(config, str) else None
        self._by = None if isinstance(config, str) else TextTemplate(config.by, source)
        self._allow = {} if isinstance(config, str) else {k.encode(): v for k, v in config.allow.items()}
        self.of_event = not isinstance(config, str) and config.by.startswith("$body")

    def of(self, values: Values) -> str | None:
        """Its name; None when what was named is not allowed."""
        return self.name if self._by is None else self._allow.get(self._by.render(values) or b"")


class Route:
    """One method at one path."""

    def __init__(
        self,
        config: RouteConfig,
        delivery: Delivery,
        *,
        queued: bool,
        keys: Keys,
        duplicates: Duplicates,
        address: Callable[[Request], str],
    ) -> None:
        self.path = config.path
        self.takes_body = config.method == "POST"
        self.rules = BodyRules(config.limits.body)
        self._delivery = delivery
        self._queued = queued
        self._keys, self._auth = keys, config.auth
        self._address = address
        self._buckets = Buckets(config.limits.rate) if config.limits.rate else None
        self._max_events = config.limits.events
        self._parameters = config.parameters
        self._source = Source(max_field=config.limits.field, address=address)
        self._event = EventTemplate(config.event, self._source) if config.event else None
        self._topic = Topic(config.topic, self._source)
        self._name = self._topic.name or ""
        self._key = TextTemplate(config.key, self._source) if config.key else None
        self._headers = [(name, TextTemplate(text, self._source)) for name, text in config.headers.items()]
        self._event_id = TextTemplate(config.event_id, self._source) if config.event_id else None
        self._id_of_event = config.event_id is not None and config.event_id.startswith("$body")
        self._careful = CarefulDelivery(delivery, duplicates, f"{config.method} {config.path}")
        self._is_plain = not (self._event or self._key or self._headers or self._event_id) and bool(
            self._topic.name
        )
        self._limited = self._buckets is not None or self._auth != "public"
        self._answers = _Answers(config, queued=queued)
        more = KEY_HEADERS if config.auth != "public" else ()
        self.cors = Cors(config.cors, request_headers=[*self._source.header_names, *more])
        self.more = self.cors.always
        self._unsigned = self._way()
        self.take = self._take_signed if config.auth == "signed" else self._unsigned
        """``take(request, body)`` sends the events of a whole request on their way; raises Refusal."""

    # the head

    def admit(self, request: Request, parameters: list[bytes]) -> None:
        """Judge a request by its head.

        :raises Refusal: 401, 403, 404, 413, 415 or 429
        """
        if parameters:
            request.parameters = dict(zip(self._parameters, parameters, strict=True))
        if self._limited:
            self._authorize(request)
        if self.takes_body:
            self.rules.check(request.headers)

    def _authorize(self, request: Request) -> None:
        if self._buckets is not None:
            self._buckets.check(network_of(self._address(request)))
        if self._auth == "key":
            request.key = self._keys.check(request, self.path)
        elif self._auth == "signed":
            request.key = self._keys.announced(request, self.path)
        if request.key is not None and request.key.buckets is not None:
            request.key.buckets.check(request.key.name)

    def _spend(self, request: Request, events: int) -> None:
        if self._buckets is not None:
            self._buckets.spend(network_of(self._address(request)), events)
        if request.key is not None and request.key.buckets is not None:
            request.key.buckets.spend(request.key.name, events)

    # the whole

    def _way(self) -> Callable[[Request, Body], Answer | Pending]:
        if not self.takes_body:
            return self._take_request
        if not self._is_plain:
            return self._take_body
        return self._take_plain_queued if self._queued else self._take_plain

    def _take_signed(self, request: Request, body: Body) -> Answer | Pending:
        self._keys.check_signature(request, body)
        try:
            return self._unsigned(request, body)
        except Refusal:
            self._keys.forget(request)
            raise

    def _take_request(self, request: Request, _: Body) -> Answer | Pending:
        return self._send(request, self._from_request(request))

    def _take_body(self, request: Request, body: Body) -> Answer | Pending:
        return self._send(request, self._from_body(request, self.rules.open(request.headers, body)))

    def _take_plain_queued(self, request: Request, body: Body) -> Answer | Pending:
        """Events that go on as they are, all to one topic: one crossing into C, and nothing to wait for."""
        if _is_plain(request.headers):
            count = self._delivery.post(self._name, body, self._max_events)
            if count:
                if self._limited:
                    self._spend(request, count)
                return self._answers.taken(count)
        return self._take_body(request, body)

    def _take_plain(self, request: Request, body: Body) -> Answer | Pending:
        if _is_plain(request.headers):
            future = self._delivery.post_watched(self._name, body, self._max_events)
            if future is not None:
                return Pending(future, partial(self._confirmed_plain, request))
        return self._take_body(request, body)

    def _confirmed_plain(self, request: Request, future: "asyncio.Future[BatchResult]") -> Answer:
        count = 0 if future.cancelled() or future.exception() else len(future.result())
        if self._limited:
            self._spend(request, count)
        self._delivery.judge(future, count)
        return self._answers.taken(count)

    def _from_request(self, request: Request) -> list[Event]:
        values = self._source.read(request)
        assert self._event is not None
        topic = self._topic_of_request(values)
        values = self._source.read_event(values, b"")
        return [self._make(values, topic, self._event.render(values), _trace(request), b"")]

    def _topic_of_request(self, values: Values) -> str:
        if self._topic.of_event:
            return ""
        topic = self._topic.of(values)
        if topic is None:
            raise Refusal(404, "not found", "nothing is collected under this name")
        return topic

    def _make(
        self, values: Values, topic: str, value: bytes | bytearray, trace: RecordHeaders, number: bytes
    ) -> Event:
        event = Event(topic, value)
        if self._key is not None:
            event.key = self._key.render(values)
        if self._headers:
            made = [(name, template.render(values)) for name, template in self._headers]
            event.headers = [*((name, each) for name, each in made if each is not None), *trace]
        else:
            event.headers = trace
        if self._event_id is not None:
            event_id = self._event_id.render(values)
            event.event_id = event_id + number if event_id is not None else None
        return event

    def _from_body(self, request: Request, body: Body) -> list[Event]:
        values = self._source.read(request)
        topic = self._topic_of_request(values)
        spans, problems = _core.split_events(body, self._max_events)
        if problems and problems[-1][0] == self._max_events:
            detail = f"a body here has at most {self._max_events} events; none was taken"
            raise Refusal(413, "too many events", detail)
        trace = _trace(request)
        events = []
        if not problems:
            for index, (start, end) in enumerate(spans):
                try:
                    events.append(self._from_event(values, topic, bytes(body[start:end]), trace, index))
                except EventProblem as problem:
                    problems.append((index, str(problem)))
        if problems:
            raise _invalid(problems)
        if not events:
            raise Refusal(400, "no events", "send a JSON object, an array of objects, or one object per line")
        return events

    def _from_event(self, values: Values, topic: str, raw: bytes, trace: RecordHeaders, index: int) -> Event:
        values = self._source.read_event(values, raw)
        if self._topic.of_event:
            chosen = self._topic.of(values)
            if chosen is None:
                raise EventProblem("the topic it names is not allowed here")
            topic = chosen
        value = raw if self._event is None else self._event.render(values)
        # one id for a whole body stands for each of its events by its place
        return self._make(values, topic, value, trace, b"" if self._id_of_event else b"#%d" % index)

    def _send(self, request: Request, events: list[Event]) -> Answer | Pending:
        count = len(events)
        topic = events[0].topic
        simple = self._event_id is None and self._delivery.spool is None
        if not simple or (self._topic.of_event and any(each.topic != topic for each in events)):
            task = asyncio.ensure_future(self._careful.deliver(events, queued=self._queued))
            self._spend_if_limited(request, count)
            return Pending(task, partial(self._delivered, count))
        future = self._delivery.enqueue(_batch(topic, events))
        self._spend_if_limited(request, count)
        if self._queued:
            self._delivery.let_go(future, count)
            return self._answers.taken(count)
        return Pending(future, partial(self._confirmed, count))

    def _spend_if_limited(self, request: Request, count: int) -> None:
        if self._limited:
            self._spend(request, count)

    def _confirmed(self, count: int, future: "asyncio.Future[BatchResult]") -> Answer:
        self._delivery.judge(future, count)
        return self._answers.taken(count)

    def _delivered(self, count: int, task: "asyncio.Future[bool]") -> Answer:
        return self._answers.taken(count) if task.result() else self._answers.spooled(count)


class _Answers:
    """What a taken request is answered with; made once."""

    def __init__(self, config: RouteConfig, *, queued: bool) -> None:
        self._status = 202 if queued else 200
        self._by_count: dict[int, Answer] = {}  # so never more than limits.events
        self._always = None
        if config.answer == "gif":
            self._always = answer(200, GIF, (b"content-type", b"image/gif"), _NO_STORE)
        elif config.answer == "no-content":
            self._always = answer(204, b"", _NO_STORE)
        elif config.method == "GET":
            self._always = answer(200, b"", _NO_STORE)

    def taken(self, count: int) -> Answer:
        """All events are taken."""
        found = self._always or self._by_count.get(count)
        if found is None:
            found = self._by_count[count] = json_answer(self._status, {"accepted": count})
        return found

    def spooled(self, count: int) -> Answer:
        """They are taken, but Kafka does not have them yet."""
        if self._always is None:
            return json_answer(202, {"accepted": count})
        empty = self._always.status == 200 and not self._always.body  # a pixel has to be a picture
        return answer(202, b"", _NO_STORE) if empty else self._always


def _is_plain(headers: RequestHeaders) -> bool:
    """Whether the body is JSON as it comes, and nothing of the head goes with it."""
    return (
        headers.get(b"content-type") in PLAIN_TYPES
        and b"content-encoding" not in headers
        and b"traceparent" not in headers
    )


def _invalid(problems: list[tuple[int, str]]) -> Refusal:
    index, reason = problems[0]
    others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    rejected = [{"index": index, "reason": reason} for index, reason in problems]
    detail = f"event {index}: {reason}{others}; none was taken"
    return Refusal(400, "invalid events", detail, more={"accepted": 0, "rejected": rejected})


def _trace(request: Request) -> RecordHeaders:
    headers = request.headers
    return [(text, headers[name]) for name, text in _TRACE if name in headers] if headers else ()


def _batch(topic: str, events: list[Event]) -> Batch:
    has_keys = any(each.key is not None for each in events)
    has_headers = any(each.headers for each in events)
    return Batch(
        topic,
        [each.value for each in events],
        [each.key for each in events] if has_keys else None,
        [each.headers for each in events] if has_headers else None,
    )
