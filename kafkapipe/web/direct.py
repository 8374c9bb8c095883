"""Serves the collector below ASGI, straight from the parser's callbacks: no task and no scope for a request.

uvicorn's protocol stays what carries the connection (sockets, httptools, shutdown); what is replaced is its
way from a parsed request to an answer, which costs more than all that the collector does to a small event.
Every limit on connections and slow clients is kept here.
"""

import asyncio
from collections import deque
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from .answers import Answer, Headers, Refusal
from .body import Body, too_slow
from .delivery import Pending
from .event_template import unescape_path
from .protocol import PlainProtocol, escape_line, log, not_http
from .request import NOTHING_MORE, Request

if TYPE_CHECKING:
    from .._collecting import ServerLimitsConfig

LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to see the answer."""
SKIPPED_BYTES = 64 * 1024
"""How much of a refused request's body is read to keep its connection; behind a longer one it is closed."""
PIPELINED = 64
"""Requests of one connection that may wait for their answers before no more is read."""
_SCAN_SECONDS = 0.25

_IDLE, _HEAD, _BODY, _ANSWER, _LINGER = range(5)
_METHODS = {name.encode(): name for name in ("GET", "POST", "HEAD", "OPTIONS")}


class App(Protocol):
    """What is served: the collector."""

    @property
    def ack_seconds(self) -> float:
        """How long a Pending may take."""

    def begin(self, request: Request) -> Answer | None:
        """Judge the head; sets ``request.route`` when there is more to do. Raises Refusal."""

    def refused(self, refusal: Refusal) -> Answer:
        """The answer of a refusal, counted."""

    def too_late(self) -> Refusal:
        """The refusal of a Pending that took too long."""

    def count(self, request: Request | None, status: int, seconds: float) -> None:
        """One request was answered."""


class Gate:
    """What the connections of one server share: limits, the bytes that are held, the look at the clock."""

    def __init__(self, app: App, limits: "ServerLimitsConfig") -> None:
        self.app = app
        self.max_connections = limits.connections
        self.max_bytes = limits.in_flight
        self.max_head = limits.headers
        self.first_byte, self.head = limits.first_byte / 1000, limits.head / 1000
        self.body, self.keep_alive = limits.body / 1000, limits.keep_alive / 1000
        waits = (self.first_byte, self.head, self.body, self.keep_alive, app.ack_seconds, LINGER_SECONDS)
        self._shortest = min(waits)
        self.bytes = 0
        self.connections: set[DirectProtocol] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._default_headers: Headers | None = None
        self._default_lines = b""

    def opened(self, connection: "DirectProtocol", loop: asyncio.AbstractEventLoop) -> None:
        """One connection more."""
        self.connections.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._shortest, self._scan, loop)

    def _scan(self, loop: asyncio.AbstractEventLoop) -> None:
        """One look at all connections: a timer for each would cost more with every request.

        The next look is at the earliest deadline; what is set meanwhile is at least the shortest limit off.
        """
        now = loop.time()
        late, earliest = [], now + self._shortest
        for connection in self.connections:
            deadline = connection.deadline
            if deadline <= now:
                late.append(connection)
            elif deadline < earliest:
                earliest = deadline
        for connection in late:
            connection.expire(now)
        self._timer = None
        if self.connections:
            self._timer = loop.call_at(max(earliest, now + _SCAN_SECONDS), self._scan, loop)

    def default_lines(self, headers: Headers) -> bytes:
        """What stands in every answer: the date. uvicorn makes a new list once a second."""
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_lines = b"".join([b"%s: %s\r\n" % header for header in headers])
        return self._default_lines


class _Slot:
    """One request of a connection that waits for its answer, or for those before it."""

    __slots__ = ("deadline", "held", "keep", "linger", "request", "started", "wire")

    def __init__(self, request: Request | None, *, keep: bool, started: float, deadline: float, held: int):
        self.request = request
        self.keep = keep
        self.started = started
        self.deadline = deadline
        self.held = held
        self.linger = False
        self.wire: bytes | None = None


class DirectProtocol(PlainProtocol):
    """One connection."""

    def __init__(self, *args: Any, gate: Gate, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate = gate
        self._app = gate.app
        self.deadline = 0.0
        self._state = _IDLE
        self._in_head = False
        self._ending = False  # nothing of what is still received counts
        self._size = 0  # of the head so far
        self._received = 0  # requests that came whole
        self._fields: dict[bytes, bytes] = {}
        self._request: Request | None = None
        self._early: Answer | None = None  # of a request whose body is only skipped
        self._skipped = 0
        self._body: Body = b""
        self._held = 0
        self._keep = True
        self._started = 0.0
        self._slots: deque[_Slot] = deque()

    # the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        gate = self._gate
        gate.opened(self, self.loop)
        self.deadline = self.loop.time() + gate.first_byte
        if len(gate.connections) > gate.max_connections:
            retry = [(b"retry-after", b"1")]
            self._give_up(Refusal(503, "too busy", "too many connections", headers=retry, abandon=True))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._gate.connections.discard(self)
        self._ending = True
        self._release()
        for slot in self._slots:
            self._gate.bytes -= slot.held
        self._slots.clear()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        before = -1
        if self._in_head:
            self._size += len(data)
        elif self._request is None:
            before = self._received
            if not data.isascii():
                data = escape_line(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end()  # no other protocol is spoken here
        except httptools.HttpParserError as error:
            self._give_up(_refusal_of(error))
        if not self._ending:
            if self._in_head and before == self._received:
                self._size = len(data)  # all of it belongs to this head, which is not whole yet
            if self._in_head and self._size > self._gate.max_head:
                self._give_up(self._head_too_large())
            else:
                self._note_state()

    def _note_state(self) -> None:
        """What is waited for now, and until when."""
        if self._slots:
            self._state, self.deadline = _ANSWER, self._slots[0].deadline
        elif self._in_head:
            if self._state != _HEAD:
                self._state, self.deadline = _HEAD, self.loop.time() + self._gate.head
        elif self._request is not None:
            if self._state != _BODY:
                self._state, self.deadline = _BODY, self.loop.time() + self._gate.body
        else:
            self._state, self.deadline = _IDLE, self.loop.time() + self._gate.keep_alive

    def expire(self, now: float) -> None:
        """The deadline is over."""
        if self._state == _ANSWER:
            for slot in self._slots:
                if slot.wire is None and slot.deadline <= now:
                    self._settle(slot, self._app.refused(self._app.too_late()))
            self._flush()
        elif self._state == _HEAD and not self._ending:
            detail = f"the head of the request did not arrive within {self._gate.head:g} s"
            self._give_up(Refusal(408, "request too slow", detail, abandon=True))
        elif self._state == _BODY and not self._ending:
            self._give_up(too_slow(self._gate.body))
        elif self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        if self._slots and not self._ending:
            self._ending = True
            self._slots[-1].keep = False
            return True  # it still listens for its answers
        return False

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self.flow.pause_reading()  # who does not read its answers shall not ask for more
        if not self._slots:
            self._state, self.deadline = _LINGER, self.loop.time() + self._gate.body

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self.flow.resume_reading()
        if not self._ending:
            self._note_state()

    def _end(self) -> None:
        """Take nothing more, and close when all is answered."""
        self._ending = True
        if self._slots:
            self._slots[-1].keep = False
        else:
            self.transport.close()

    def shutdown(self) -> None:
        if self._slots:
            self._end()
        elif self._request is not None:
            self._keep = False
        else:
            self.transport.close()

    # the parser's callbacks

    def on_message_begin(self) -> None:
        self._in_head = True
        self._state = _IDLE
        self._size = 0
        self.url = b""
        self._fields = {}

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._size += len(url)
        if self._size > self._gate.max_head:
            raise self._head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value) + 4
        if self._size > self._gate.max_head:
            raise self._head_too_large()
        name = name.lower()
        fields = self._fields
        fields[name] = fields[name] + b", " + value if name in fields else value

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._started = perf_counter()
        self._early = None
        self._skipped = 0
        fields = self._fields
        parser = self.parser
        self._keep = parser.should_keep_alive()
        if b"connection" in fields or b"host" not in fields:
            self._judge_connection(fields)
        method = parser.get_method()
        self._request = request = self._head(_METHODS.get(method) or method.decode())
        has_body = b"content-length" in fields or b"transfer-encoding" in fields
        try:
            self._early = self._app.begin(request)
            if self._early is None and not has_body and request.route and request.route.takes_body:
                detail = "send Content-Length, or Transfer-Encoding: chunked"
                raise Refusal(411, "length required", detail)
        except Refusal as refusal:
            if refusal.abandon:
                raise
            self._early = self._app.refused(refusal)
        if has_body and b"expect" in fields and self._early is None and not self._slots:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _judge_connection(self, fields: dict[bytes, bytes]) -> None:
        """What is rare: versions before 1.1, and wishes for another protocol."""
        old = self.parser.get_http_version() in ("0.9", "1.0")
        if b"host" not in fields and not old:
            raise Refusal(400, "bad request", "a request names its Host", abandon=True)
        self._keep = self._keep and not old and not self.parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        size = len(body)
        if self._early is not None:
            self._skipped += size
            if self._skipped > SKIPPED_BYTES:
                raise _Abandon
            return
        request = self._request
        assert request is not None
        assert request.route is not None
        held = self._held + size
        if held > request.route.rules.max_bytes:
            raise request.route.rules.too_large()
        if held == size:
            self._body = body
        elif isinstance(self._body, bytearray):
            self._body += body
        else:
            self._body = bytearray(self._body)
            self._body += body
        self._held = held
        self._gate.bytes += size
        if self._gate.bytes > self._gate.max_bytes:
            retry = [(b"retry-after", b"1")]
            raise Refusal(503, "too busy", "too many bodies at once", headers=retry, abandon=True)

    def on_message_complete(self) -> None:
        request, reply = self._request, self._early
        assert request is not None
        self._request = None
        self._received += 1
        if reply is None:
            assert request.route is not None
            try:
                outcome = request.route.take(request, self._body)
            except Refusal as refusal:
                outcome = self._app.refused(refusal)
            if isinstance(outcome, Pending):
                self._wait(request, outcome)
                return
            reply = outcome
        self._answer(request, reply, keep=self._keep)
        self._release()

    def _head(self, method: str) -> Request:
        url = self.url
        if url.startswith(b"/"):
            path, _, query = url.partition(b"#")[0].partition(b"?")
        else:
            try:
                parsed = httptools.parse_url(url)
            except httptools.HttpParserInvalidURLError:
                raise not_http() from None
            path, query = parsed.path or b"/", parsed.query or b""
        if b"%" in path:
            path = unescape_path(path)
        return Request(method, path, query, self._fields, self.client[0] if self.client else "", url)

    def _head_too_large(self) -> Refusal:
        detail = f"the head of a request here has at most {self._gate.max_head} bytes"
        return Refusal(431, "headers too large", detail, abandon=True)

    # answers

    def _answer(self, request: Request | None, reply: Answer, *, keep: bool) -> None:
        """Write it, or put it behind those that come before it."""
        self._app.count(request, reply.status, perf_counter() - self._started)
        wire = self._wire(request, reply, keep=keep)
        if self._slots:
            slot = _Slot(request, keep=keep, started=self._started, deadline=self._slots[0].deadline, held=0)
            slot.wire = wire
            self._slots.append(slot)
            if not keep:
                self._ending = True
            return
        self.transport.write(wire)
        if not keep:
            self._ending = True
            self.transport.close()

    def _wait(self, request: Request, pending: Pending) -> None:
        deadline = self.loop.time() + self._app.ack_seconds
        slot = _Slot(request, keep=self._keep, started=self._started, deadline=deadline, held=self._held)
        self._held, self._body = 0, b""  # the slot's now
        self._slots.append(slot)
        if not self._keep:
            self._ending = True
        if len(self._slots) > PIPELINED:
            self.flow.pause_reading()
        pending.future.add_done_callback(partial(self._finished, slot, pending))
        self._state, self.deadline = _ANSWER, self._slots[0].deadline

    def _finished(self, slot: _Slot, pending: Pending, future: "asyncio.Future[Any]") -> None:
        if slot.wire is not None or self.transport.is_closing():
            if not future.cancelled():
                future.exception()  # nobody is left to be told
            return
        try:
            reply = pending.finish(future)
        except Refusal as refusal:
            reply = self._app.refused(refusal)
        except Exception as error:
            log.error("a request failed: %r", error, exc_info=error)
            reply = self._app.refused(_fault())
            slot.keep = False
        self._settle(slot, reply)
        self._flush()

    def _settle(self, slot: _Slot, reply: Answer) -> None:
        self._app.count(slot.request, reply.status, perf_counter() - slot.started)
        slot.wire = self._wire(slot.request, reply, keep=slot.keep)
        self._gate.bytes -= slot.held
        slot.held = 0

    def _flush(self) -> None:
        """Write what is answered, in the order of the requests."""
        slots = self._slots
        while slots and slots[0].wire is not None:
            slot = slots.popleft()
            assert slot.wire is not None
            self.transport.write(slot.wire)
            if slot.linger:
                self._linger()
                return
            if not slot.keep:
                self.transport.close()
                return
        if len(slots) <= PIPELINED:
            self.flow.resume_reading()
        if not self._ending or slots:
            self._note_state()

    def _wire(self, request: Request | None, reply: Answer, *, keep: bool) -> bytes:
        """The bytes of an answer; what does not change of them is kept with it."""
        more = request.more if request is not None else NOTHING_MORE
        whole = keep and (request is None or request.method != "HEAD")
        rest = reply.wires.get(id(more)) if whole else None  # such a list lives as long as its route
        if rest is None:
            lines = [b"%s: %s\r\n" % header for header in (*reply.headers, *more)]
            if not keep and (b"connection", b"close") not in reply.headers:
                lines.append(b"connection: close\r\n")
            body = b"" if request is not None and request.method == "HEAD" else reply.body
            rest = b"%s\r\n%s" % (b"".join(lines), body)
            if whole:
                reply.wires[id(more)] = rest
        lines_of_all = self._gate.default_lines(self.server_state.default_headers)
        return b"".join((STATUS_LINE[reply.status], lines_of_all, rest))

    def _give_up(self, refusal: Refusal) -> None:
        """Answer, and take nothing more from this connection."""
        if self._ending and not self._slots:
            return
        request, self._request = self._request, None
        if isinstance(refusal, _Abandoned):
            assert self._early is not None
            reply = self._early
        else:
            reply = self._app.refused(refusal)
        self._app.count(
            request, reply.status, perf_counter() - (self._started if request else perf_counter())
        )
        wire = self._wire(request, reply, keep=False)
        self._release()
        self._ending = True
        if self._slots:
            slot = _Slot(request, keep=False, started=0, deadline=self._slots[0].deadline, held=0)
            slot.wire, slot.linger = wire, True
            self._slots.append(slot)
            return
        self.transport.write(wire)
        self._linger()

    def _linger(self) -> None:
        """Closing a connection with unread data resets it, and the answer is lost with it."""
        self._ending = True
        self._state, self.deadline = _LINGER, self.loop.time() + LINGER_SECONDS
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _release(self) -> None:
        self._gate.bytes -= self._held
        self._held, self._body = 0, b""


class _Abandoned(Refusal):
    """The answer is made already, but the rest of the body is not worth reading."""


_Abandon = _Abandoned(400, "", "", abandon=True)


def _refusal_of(error: httptools.HttpParserError) -> Refusal:
    cause = error.__context__
    if isinstance(cause, Refusal):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        log.error("a request failed: %r", cause, exc_info=cause)
        return _fault()
    return not_http()


def _fault() -> Refusal:
    return Refusal(500, "internal error", "this is a fault of the server; it was logged", abandon=True)
