"""The delivery of a request that needs more than one step: several topics, ids that are known, a spool.

What happens to an event is settled by callbacks, so it is settled right even when nobody waits any more.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ..errors import KafkaPipeError, RejectedError, RetryableError
from .answers import Refusal
from .delivery import Batch, Delivery, RecordHeaders
from .duplicates import Claim, Duplicates

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
    sent: "asyncio.Future[BatchResult] | None" = None
    refused: Refusal | None = None
    spooled: bool = False


@dataclass(slots=True)
class _Work:
    groups: dict[str, _Group] = field(default_factory=dict)
    joined: dict[int, Claim] = field(default_factory=dict)

    @property
    def spooled(self) -> bool:
        return any(group.spooled for group in self.groups.values())


class CarefulDelivery:
    """``place`` keeps apart the ids of different routes."""

    def __init__(self, delivery: Delivery, duplicates: Duplicates, place: str) -> None:
        self._delivery = delivery
        self._duplicates = duplicates
        self._place = place
        self._background: set[asyncio.Task[_Failures]] = set()

    async def deliver(self, events: Sequence[Event], *, queued: bool) -> bool:
        """Returns when all events are taken: False when some of them only by the spool.

        :raises Refusal: says which were not
        """
        work = self._sort(events)
        for group in work.groups.values():
            await self._hand_in(group)
        refused = [group for group in work.groups.values() if group.refused is not None]
        if len(refused) == len(work.groups) == 1 and not work.joined and refused[0].refused:
            raise refused[0].refused
        if queued and not refused:
            self._let_go(work)
            return not work.spooled
        failed = await self._outcome(work)
        if failed:
            raise self._delivery.refusal(len(events) - len(failed), sorted(failed.items()))
        self._delivery.count(len(events))
        return not work.spooled

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

    async def _hand_in(self, group: _Group) -> None:
        """To the queue, or to the spool when it refuses."""
        try:
            group.sent = self._delivery.enqueue(group.batch)
        except Refusal as refusal:
            if refusal.status == 503 and await self._spool(group.batch):
                group.spooled = True
            else:
                group.refused = refusal
            self._settle_all(group, taken=group.spooled)
            return
        group.sent.add_done_callback(partial(self._settle, group))

    def _let_go(self, work: _Work) -> None:
        for group in work.groups.values():
            if group.sent is not None and self._delivery.spool is None:
                self._delivery.let_go(group.sent, len(group.indexes))
            elif group.sent is not None:
                task = asyncio.ensure_future(self._rescue(group, {}))
                self._background.add(task)
                task.add_done_callback(self._background.discard)
                self._delivery.count(len(group.indexes))

    async def _outcome(self, work: _Work) -> _Failures:
        failed: _Failures = {}
        for group in work.groups.values():
            if group.refused is not None:
                lost = RetryableError(group.refused.detail)
                failed.update(dict.fromkeys(group.indexes, lost))
            elif group.sent is not None:
                await self._rescue(group, failed)
        for index, claim in work.joined.items():
            if not await asyncio.shield(claim):
                failed[index] = RetryableError("the first copy of this event was not taken")
        return failed

    async def _rescue(self, group: _Group, failed: _Failures) -> _Failures:
        """Adds what Kafka did not take; what another try could deliver goes to the spool, if there is one."""
        assert group.sent is not None
        try:
            result = await asyncio.shield(group.sent)
            lost = dict(result.failed)
        except KafkaPipeError as error:
            lost = dict.fromkeys(range(len(group.indexes)), error)
        again = [number for number, error in lost.items() if not isinstance(error, RejectedError)]
        if again and await self._spool(group.batch.part(again)):
            group.spooled = True
            for number in again:
                del lost[number]
        if not lost:
            self._delivery.health.good()
        failed.update({group.indexes[number]: error for number, error in lost.items()})
        return failed

    async def _spool(self, batch: Batch) -> bool:
        spool = self._delivery.spool
        if spool is None:
            return False
        try:
            await spool.put(batch.topic, batch.values, batch.keys, batch.headers)
        except KafkaPipeError as error:
            self._delivery.health.bad(error)
            return False
        return True

    def _settle(self, group: _Group, sent: "asyncio.Future[BatchResult]") -> None:
        failed = set(range(len(group.indexes)))
        if not sent.cancelled() and sent.exception() is None:
            failed = {number for number, _ in sent.result().failed}
        for number, claim in enumerate(group.claims):
            if claim is not None:
                # what the spool will bring is taken, and a retry of it would be a second copy
                taken = number not in failed or self._delivery.spool is not None
                self._duplicates.settle(*claim, taken=taken)

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
