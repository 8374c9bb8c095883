"""Remembers the ids of events, so that one that is sent again is answered as before and produced once."""

import asyncio
from collections import OrderedDict
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._collecting import DuplicatesConfig

Claim = asyncio.Future[bool]
"""Whether the event that has the id was taken; open while that is not known."""


class Duplicates:
    """A table of ids, bounded in time and in number; the oldest go first.

    An id is claimed by the first who brings it and settled by what became of its event: one that was not
    taken is forgotten at once, so that a retry gets another chance.
    """

    def __init__(self, config: "DuplicatesConfig") -> None:
        self._window = config.window / 1000
        self._most = config.events
        self._known: OrderedDict[bytes, tuple[float, Claim | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def claim(self, place: str, event_id: bytes) -> tuple[bytes, Claim | None, bool]:
        """The key of this id, the first one's claim (None: it was taken), and whether this is the first."""
        key = blake2b(
            event_id, digest_size=16, person=blake2b(place.encode(), digest_size=16).digest()
        ).digest()
        now = monotonic()
        self._forget(now)
        known = self._known.get(key)
        if known is not None:
            return key, known[1], False
        mine: Claim = asyncio.get_running_loop().create_future()
        self._known[key] = (now, mine)
        return key, mine, True

    def settle(self, key: bytes, claim: Claim | None, *, taken: bool) -> None:
        """What became of the event whose id was claimed first."""
        known = self._known.get(key)
        if known is not None and known[1] is claim:
            if taken:
                self._known[key] = (known[0], None)
            else:
                del self._known[key]
        if claim is not None and not claim.done():
            claim.set_result(taken)

    def _forget(self, now: float) -> None:
        while self._known:
            key, (since, _) = next(iter(self._known.items()))
            if now - since < self._window and len(self._known) < self._most:
                return
            del self._known[key]
