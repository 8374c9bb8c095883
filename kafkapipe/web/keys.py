"""Who may write: write keys, given as they are or used to sign a request.

A signed request has three headers. ``X-Kafkapipe-Key`` is the key's name, ``X-Kafkapipe-Time`` seconds since
1970, and ``X-Kafkapipe-Signature`` the HMAC-SHA256, in hex, with the key's secret over these bytes:

    TIME "." METHOD "." TARGET "." BODY

TARGET is path and query as they stand in the request's first line, BODY the body as it is sent (after gzip).

    time=$(date +%s); body='{"id":1}'
    signature=$(printf '%s.POST./events.%s' "$time" "$body" |
                openssl dgst -sha256 -hmac "$SECRET" -r | cut -d' ' -f1)
    curl http://127.0.0.1:8080/events -H "X-Kafkapipe-Key: web" -H "X-Kafkapipe-Time: $time" \
         -H "X-Kafkapipe-Signature: $signature" -H 'Content-Type: application/json' --data-binary "$body"
"""

import hmac
import os
import re
from collections import OrderedDict
from hashlib import sha256
from time import monotonic, time
from typing import TYPE_CHECKING

from .answers import Refusal
from .rates import Buckets
from .request import Request

if TYPE_CHECKING:
    from .._collecting import CollectorConfig, KeyConfig

HEADERS = (
    b"authorization",
    b"x-write-key",
    b"x-kafkapipe-key",
    b"x-kafkapipe-time",
    b"x-kafkapipe-signature",
)
"""What a page of another origin must be allowed to send."""

SIGNATURES = 200_000
"""Signatures that are remembered within the window; a signed request beyond that is told to come again."""

_CHALLENGE = [(b"www-authenticate", b'Bearer realm="kafkapipe"')]


class Key:
    """One write key: its name, where it may be used, how often. Its secrets are never shown."""

    __slots__ = ("_secrets", "buckets", "name", "paths")

    def __init__(self, name: str, config: "KeyConfig") -> None:
        self.name = name
        self.paths = frozenset(config.routes) if config.routes is not None else None
        self.buckets = Buckets(config.rate, senders=1) if config.rate else None
        self._secrets = [each.get_secret_value().encode() for each in config.secrets]

    def __repr__(self) -> str:
        return f"Key({self.name!r})"

    def digests(self, salt: bytes) -> list[bytes]:
        """What its secrets are compared by."""
        return [_digest(salt, secret) for secret in self._secrets]

    def signed(self, message: tuple[bytes, ...], signature: bytes) -> bool:
        """Whether one of its secrets made this signature; tries all of them, in constant time each."""
        found = False
        for secret in self._secrets:
            made = hmac.new(secret, digestmod=sha256)
            for part in message:
                made.update(part)
            found |= hmac.compare_digest(made.hexdigest().encode(), signature)
        return found


class Keys:
    """All write keys. A secret is looked for by its keyed digest: the time that takes tells nothing."""

    def __init__(self, config: "CollectorConfig") -> None:
        self._salt = os.urandom(32)
        self._by_name = {name.encode(): Key(name, key) for name, key in config.keys.items()}
        self._by_digest = {
            digest: key for key in self._by_name.values() for digest in key.digests(self._salt)
        }
        self._window = config.signed.window / 1000
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def check(self, request: Request, path: str) -> Key:
        """The key that the request carries.

        :raises Refusal: 401 when it carries none that is known, 403 when that is not for this route
        """
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        secret = token.strip() if scheme.lower() == b"bearer" else request.headers.get(b"x-write-key", b"")
        key = self._by_digest.get(_digest(self._salt, secret)) if secret else None
        if key is None:
            detail = "send a write key: Authorization: Bearer KEY, or X-Write-Key: KEY"
            raise Refusal(401, "not authorized", detail, headers=_CHALLENGE)
        return _opens(key, path)

    def announced(self, request: Request, path: str) -> Key:
        """The key that a signed request names, when its time is right; the signature is judged with the body.

        :raises Refusal: 401 or 403
        """
        key = self._by_name.get(request.headers.get(b"x-kafkapipe-key", b""))
        moment = request.headers.get(b"x-kafkapipe-time", b"")
        if not re.fullmatch(rb"[0-9]{1,12}", moment) or not request.headers.get(b"x-kafkapipe-signature"):
            raise _unsigned("sign the request: X-Kafkapipe-Key, X-Kafkapipe-Time, X-Kafkapipe-Signature")
        if abs(time() - int(moment)) > self._window:
            raise _unsigned(f"X-Kafkapipe-Time is more than {self._window:g} s away from this server's clock")
        if key is None:
            raise _unsigned("the signature is wrong")
        return _opens(key, path)

    def check_signature(self, request: Request, body: bytes | bytearray) -> None:
        """Judge the signature of a request whose key was announced; each is good for one request.

        :raises Refusal: 401; 503 when more are remembered than the table holds
        """
        signature = request.headers[b"x-kafkapipe-signature"].strip().lower()
        moment = request.headers[b"x-kafkapipe-time"]
        message = (b"%s.%s.%s." % (moment, request.method.encode(), request.target), bytes(body))
        if request.key is None or not request.key.signed(message, signature):
            raise _unsigned("the signature is wrong")
        now = monotonic()
        while self._seen and now - next(iter(self._seen.values())) > 2 * self._window:
            self._seen.popitem(last=False)
        if signature in self._seen:
            raise _unsigned("this signed request was taken before")
        if len(self._seen) >= SIGNATURES:
            retry = [(b"retry-after", b"1")]
            raise Refusal(503, "too many signed requests", "come again a little later", headers=retry)
        self._seen[signature] = now

    def forget(self, request: Request) -> None:
        """The request was not taken after all: it may come again as it is."""
        self._seen.pop(request.headers[b"x-kafkapipe-signature"].strip().lower(), None)


def _digest(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha256")


def _opens(key: Key, path: str) -> Key:
    if key.paths is not None and path not in key.paths:
        raise Refusal(403, "not allowed", "this key is not for this route")
    return key


def _unsigned(detail: str) -> Refusal:
    return Refusal(401, "not authorized", detail)
