"""The delivery of a request that needs more than one step: several topics, ids that are known, a spool.

What happens to an event is settled by callbacks, so it is settled right even when nobody waits any more.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import KafkaPipeError, RetryableError
from .answers import Refusal
from .delivery import Batch, Delivery, RecordHeaders
from .duplicates import Claim, Duplicates
from .spooling import Taken

if TYPE_CHECKING:
    from .._core import BatchResult

_Failures = dict[int, KafkaPipeError]


@dataclass(slots=True)
class Event:
    """One event and where it goes."""

    topic: str
    value: bytes | bytearray
    key: bytes | None = None
    headers: RecordHeaders = ()
    event_id: bytes | None = None


@dataclass(slots=True)
class _Group:
    """The events of a request that go to one topic for the first time."""

    batch: Batch
    indexes: list[int]
    claims: list[tuple[bytes, Claim | None] | None]
    sent: "asyncio.Future[Any] | None" = None
    """Of a BatchResult, or with a spool of a Taken."""
    refused: Refusal | None = None
    in_queue: bool = False
    """The producer has them."""
    spooled: bool = False
    """They are on disk, and not in Kafka yet."""


@dataclass(slots=True)
class _Work:
    groups: dict[str, _Group] = field(default_factory=dict)
    joined: dict[int, Claim] = field(default_factory=dict)


class CarefulDelivery:
    """``place`` keeps apart the ids of different routes."""

    def __init__(self, delivery: Delivery, duplicates: Duplicates, place: str) -> None:
        self._delivery = delivery
        self._duplicates = duplicates
        self._place = place

    async def deliver(self, events: Sequence[Event], *, queued: bool) -> bool:
        """Returns when all events are taken: False when some of them only by the spool.

        :raises Refusal: says which were not
        """
        work = self._sort(events)
        for group in work.groups.values():
            self._hand_in(group)
        refused = [group for group in work.groups.values() if group.refused is not None]
        if len(refused) == len(work.groups) == 1 and not work.joined and refused[0].refused:
            raise refused[0].refused
        if queued and all(group.in_queue for group in work.groups.values()):
            for group in work.groups.values():
                assert group.sent is not None
                self._delivery.let_go(group.sent, len(group.indexes))
            return True
        failed = await self._outcome(work)
        if failed:
            raise self._delivery.refusal(len(events) - len(failed), sorted(failed.items()))
        self._delivery.count(len(events))
        return not any(group.spooled for group in work.groups.values())

    def _sort(self, events: Sequence[Event]) -> _Work:
        work = _Work()
        for index, event in enumerate(events):
            claim: tuple[bytes, Claim | None] | None = None
            if event.event_id is not None:
                key, first, is_mine = self._duplicates.claim(f"{self._place} {event.topic}", event.event_id)
                if not is_mine:
                    if first is not None:
                        work.joined[index] = first
                    continue
                claim = key, first
            group = work.groups.get(event.topic)
            if group is None:
                group = work.groups[event.topic] = _Group(Batch(event.topic, [], [], []), [], [])
            _add(group, index, event, claim)
        return work

    def _hand_in(self, group: _Group) -> None:
        try:
            if self._delivery.spool is None:
                group.sent = self._delivery.enqueue(group.batch)
                group.in_queue = True
            else:
                sending = self._delivery.send(group.batch)
                group.sent, group.in_queue = sending.taken, sending.in_queue
        except Refusal as refusal:
            group.refused = refusal
            self._settle_all(group, taken=False)
        else:
            group.sent.add_done_callback(partial(self._settle, group))

    async def _outcome(self, work: _Work) -> _Failures:
        failed: _Failures = {}
        for group in work.groups.values():
            if group.refused is not None:
                lost = RetryableError(group.refused.detail)
                failed.update(dict.fromkeys(group.indexes, lost))
            elif group.sent is not None:
                await self._wait(group, failed)
        for index, claim in work.joined.items():
            if not await asyncio.shield(claim):
                failed[index] = RetryableError("the first copy of this event was not taken")
        return failed

    async def _wait(self, group: _Group, failed: _Failures) -> None:
        """Adds what nobody took."""
        assert group.sent is not None
        try:
            result = await asyncio.shield(group.sent)
        except KafkaPipeError as error:
            failed.update(dict.fromkeys(group.indexes, error))
            return
        group.spooled = isinstance(result, Taken) and result.spooled > 0
        if not result.failed and not group.spooled:
            self._delivery.health.good()
        failed.update({group.indexes[number]: error for number, error in result.failed})

    def _settle(self, group: _Group, sent: "asyncio.Future[BatchResult] | asyncio.Future[Taken]") -> None:
        failed = set(range(len(group.indexes)))
        if not sent.cancelled() and sent.exception() is None:
            failed = {number for number, _ in sent.result().failed}
        for number, claim in enumerate(group.claims):
            if claim is not None:
                # what the spool will bring is taken, and a retry of it would be a second copy
                self._duplicates.settle(*claim, taken=number not in failed)

    def _settle_all(self, group: _Group, *, taken: bool) -> None:
        for claim in group.claims:
            if claim is not None:
                self._duplicates.settle(*claim, taken=taken)


def _add(group: _Group, index: int, event: Event, claim: tuple[bytes, Claim | None] | None) -> None:
    assert group.batch.keys is not None
    assert group.batch.headers is not None
    group.indexes.append(index)
    group.claims.append(claim)
    group.batch.values.append(event.value)
    group.batch.keys.append(event.key)
    group.batch.headers.append(event.headers)
