"""Token buckets: how many events a sender may write over time. The table of senders is bounded."""

from collections import OrderedDict
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING

from .answers import Refusal

if TYPE_CHECKING:
    from .._collecting import RateConfig

SENDERS = 100_000
"""Senders that are remembered at once; who was seen longest ago is forgotten, and has a full bucket again."""


class Buckets:
    """One bucket of tokens for each sender. A request may begin while there is a token left.

    What it then takes may exceed what is left: the debt is waited for before the next one. So a whole batch
    is judged before its body is read.
    """

    def __init__(self, rate: "RateConfig", *, senders: int = SENDERS) -> None:
        self._per_second = rate.per_second
        self._capacity = rate.capacity
        self._senders = senders
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when they were counted

    def check(self, sender: str) -> None:
        """Raises Refusal, 429 with Retry-After, when nothing is left."""
        tokens = self._tokens(sender, monotonic())
        if tokens < 1:
            seconds = ceil((1 - tokens) / self._per_second)
            raise Refusal(
                429,
                "too many requests",
                f"the rate allowed here is {self._per_second:g} events a second",
                headers=[(b"retry-after", b"%d" % seconds)],
            )

    def spend(self, sender: str, events: int) -> None:
        """Count events that were taken."""
        now = monotonic()
        self._known[sender] = (self._tokens(sender, now) - events, now)
        self._known.move_to_end(sender)
        if len(self._known) > self._senders:
            self._known.popitem(last=False)

    def _tokens(self, sender: str, now: float) -> float:
        known = self._known.get(sender)
        if known is None:
            return self._capacity
        return min(self._capacity, known[0] + (now - known[1]) * self._per_second)
