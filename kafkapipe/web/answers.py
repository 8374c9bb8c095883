"""What the collector answers, and how it says no: one JSON style for every refusal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]

_NOSNIFF = (b"x-content-type-options", b"nosniff")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer; ``headers`` carries the content length."""

    status: int
    headers: Headers
    body: bytes = b""
    wires: dict[int, bytes] = field(default_factory=dict, compare=False, repr=False)
    """What a server made of it before, to be written again."""


def answer(status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> Answer:
    """An answer with its content length; 204 has none (RFC 9110, section 8.6)."""
    length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    return Answer(status, [*length, *headers], body)


def json_answer(status: int, document: Mapping[str, object], *headers: tuple[bytes, bytes]) -> Answer:
    """An answer whose body is one JSON document."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return answer(status, body, (b"content-type", b"application/json"), *headers)


class Refusal(Exception):  # noqa: N818 - the ordinary way to say no, not a fault
    """Ends a request with ``{"error": error, "detail": detail}``.

    ``error`` is one of a few fixed phrases, fit for a program and for counting; ``detail`` is a sentence for
    a person. ``more`` are further members of the document, ``headers`` of the answer.
    ``abandon`` closes the connection: the rest of the body is not worth reading.
    """

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        more: Mapping[str, object] | None = None,
        abandon: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.headers = (*headers, (b"connection", b"close")) if abandon else tuple(headers)
        self.more = more or {}
        self.abandon = abandon

    def answer(self) -> Answer:
        """The answer that says so."""
        document = {"error": self.error, "detail": self.detail, **self.more}
        return json_answer(self.status, document, _NOSNIFF, *self.headers)
