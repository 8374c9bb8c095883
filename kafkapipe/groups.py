"""Consumer groups: who is in them, how far they are, and putting them elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import _html
from ._admin import EARLIEST, LATEST, Client, Deadline
from .errors import ConfigError, RejectedError

Place = tuple[str, int]
"""A topic and the number of one of its partitions."""

_WITHOUT_MEMBERS = ("Empty", "Dead")  # Dead: Kafka knows no group of this name
_NO_OFFSET = -1001


@dataclass(frozen=True)
class GroupInfo(_html.Shown):
    """A consumer group in a list; the state is Kafka's: Stable, Empty, PreparingRebalance, ..."""

    name: str
    state: str


@dataclass(frozen=True)
class MemberInfo(_html.Shown):
    """A consumer in a group."""

    id: str
    instance: str | None
    """Its ``group.instance.id``, when it is a static member."""
    client: str
    host: str
    partitions: tuple[Place, ...]


@dataclass(frozen=True)
class GroupOffset(_html.Shown):
    """How far a group is in a partition."""

    topic: str
    partition: int
    committed: int | None
    """The offset it goes on from; None: it has committed none."""
    end: int | None
    """The offset that the next record will get; None: there is no such partition any more."""
    member: str | None
    """The id of the member that has this partition."""

    @property
    def lag(self) -> int | None:
        """Records between the two; None when one of them is not known."""
        if self.committed is None or self.end is None:
            return None
        return max(0, self.end - self.committed)


@dataclass(frozen=True)
class GroupDescription:
    """A consumer group with its members and offsets."""

    name: str
    state: str
    assignor: str
    coordinator: int | None
    """The number of the broker that leads the group."""
    members: tuple[MemberInfo, ...]
    offsets: tuple[GroupOffset, ...]

    @property
    def lag(self) -> int:
        """Records behind the ends, over all partitions whose lag is known."""
        return sum(each.lag or 0 for each in self.offsets)

    def _repr_html_(self) -> str:
        clients = {each.id: each.client for each in self.members}
        rows = (
            (each.topic, each.partition, each.committed, each.end, each.lag, clients.get(each.member or ""))
            for each in self.offsets
        )
        columns = ("topic", "partition", "committed", "end", "lag", "member")
        members = f"{len(self.members)} member{'s' * (len(self.members) != 1)}"
        return _html.table(columns, rows, f"{self.name}: {self.state}, {members}, lag {self.lag:,}")


@dataclass(frozen=True)
class OffsetReset(_html.Shown):
    """A partition of a group that was, or would be, put from one offset to another."""

    topic: str
    partition: int
    before: int | None
    """None: it had committed none."""
    after: int


async def list_groups(client: Client, timeout: float) -> list[GroupInfo]:  # noqa: ASYNC109 - goes to the broker
    """All consumer groups, by name."""
    found = (GroupInfo(*each) for each in await client.call("list_groups", timeout=timeout))
    return _html.Rows(sorted(found, key=lambda group: group.name))


async def describe_group(client: Client, name: str, timeout: float) -> GroupDescription:  # noqa: ASYNC109
    """A group's members and offsets; RejectedError when there is none of this name."""
    deadline = Deadline(timeout)
    found = await client.call("describe_group", name, timeout=deadline.left)
    committed = await _committed(client, name, deadline)
    if found["state"] == "Dead" and not committed:
        raise RejectedError(
            f"describe group {name}: there is no such group: see `kafkapipe groups list`",
            op="describe group",
            code="GROUP_ID_NOT_FOUND",
        )
    members = tuple(_member(each) for each in found["members"])
    owners = {partition: member.id for member in members for partition in member.partitions}
    wanted = sorted({*committed, *owners})
    ends = await _existing_ends(client, wanted, deadline)
    return GroupDescription(
        name,
        found["state"],
        found["assignor"] or "",
        found["coordinator"],
        members,
        tuple(GroupOffset(*each, committed.get(each), ends.get(each), owners.get(each)) for each in wanted),
    )


def _member(found: Sequence[Any]) -> MemberInfo:
    name, instance, client, host, partitions = found
    return MemberInfo(name, instance, client, host, tuple(sorted((topic, n) for topic, n in partitions)))


async def _committed(client: Client, group: str, deadline: Deadline) -> dict[Place, int]:
    rows = await client.call("committed", group, [], timeout=deadline.left)
    return {(topic, partition): offset for topic, partition, offset, *_ in rows if offset > _NO_OFFSET}


async def _existing_ends(client: Client, wanted: Iterable[Place], deadline: Deadline) -> dict[Place, int]:
    """The ends of those that still exist."""
    metadata = await client.metadata(None, deadline.left)
    existing = {(topic, partition[0]) for topic, partitions in metadata for partition in partitions}
    return await _find(client, [each for each in wanted if each in existing], LATEST, deadline)


async def _find(
    client: Client, partitions: Sequence[Place], time_ms: int, deadline: Deadline
) -> dict[Place, int]:
    offsets = await client.find_offsets([(*each, time_ms) for each in partitions], deadline.left)
    return dict(zip(partitions, offsets, strict=True))


async def reset_offsets(
    client: Client,
    group: str,
    *,
    to: str | int | datetime | None,
    shift: int | None,
    topics: Iterable[str | Place] | None,
    dry_run: bool,
    timeout: float,  # noqa: ASYNC109
) -> list[OffsetReset]:
    """Put a group elsewhere; see Admin.reset_offsets."""
    _check_target(to, shift)
    deadline = Deadline(timeout)
    await _require_empty(client, group, deadline)
    committed = await _committed(client, group, deadline)
    partitions = (
        sorted(committed) if topics is None else await expand(client, "reset offsets", topics, deadline)
    )
    if not partitions:
        raise RejectedError(
            f"reset offsets of group {group}: it has no offsets yet: name the topics", op="reset offsets"
        )
    earliest = await _find(client, partitions, EARLIEST, deadline)
    latest = await _find(client, partitions, LATEST, deadline)
    times = {}
    if isinstance(to, datetime):
        times = await _find(client, partitions, max(0, int(to.timestamp() * 1000)), deadline)
    wanted = targets(
        group, to=to, shift=shift, committed=committed, earliest=earliest, latest=latest, times=times
    )
    resets = _html.Rows(OffsetReset(*each, committed.get(each), after) for each, after in wanted.items())
    if not dry_run:
        offsets = [(each.topic, each.partition, each.after) for each in resets]
        await client.call("commit", group, offsets, timeout=deadline.left)
    return resets


def _check_target(to: str | int | datetime | None, shift: int | None) -> None:
    if (to is None) == (shift is None):
        raise ConfigError("reset offsets: give either `to` or `shift`", op="reset offsets")
    for number in (to, shift):
        if isinstance(number, bool | float):
            raise ConfigError(f"reset offsets: {number!r}: give a whole number", op="reset offsets")
    known = to in ("earliest", "latest") if isinstance(to, str) else isinstance(to, int | datetime | None)
    if not known:
        raise ConfigError(
            f'reset offsets: to={to!r:.80} is unknown: give "earliest", "latest", an offset or a datetime',
            op="reset offsets",
        )


async def _require_empty(client: Client, group: str, deadline: Deadline) -> None:
    found = await client.call("describe_group", group, timeout=deadline.left)
    if found["state"] in _WITHOUT_MEMBERS:
        return
    members = [f"{client_id} on {host.lstrip('/')}" for _, _, client_id, host, _ in found["members"]]
    raise RejectedError(
        f"reset offsets of group {group}: it is not empty ({found['state']}, {len(members)} members: "
        f"{', '.join(members[:3])}{', …' if len(members) > 3 else ''}): stop its consumers first",
        op="reset offsets",
        code="NON_EMPTY_GROUP",
    )


async def expand(client: Client, op: str, topics: Iterable[str | Place], deadline: Deadline) -> list[Place]:
    """All partitions of what is only a topic's name; RejectedError for what does not exist."""
    partitions: set[Place] = set()
    numbers: dict[str, set[int]] = {}
    for each in topics:
        topic, wanted = (each, None) if isinstance(each, str) else each
        if topic not in numbers:
            ((_, found),) = await client.metadata(topic, deadline.left)
            numbers[topic] = {partition[0] for partition in found}
        if wanted is not None and wanted not in numbers[topic]:
            raise RejectedError(
                f"{op}: topic {topic} has no partition {wanted}, it has {len(numbers[topic])}",
                op=op,
                code="UNKNOWN_TOPIC_OR_PART",
            )
        partitions |= {(topic, number) for number in (numbers[topic] if wanted is None else {wanted})}
    return sorted(partitions)


def targets(
    group: str,
    *,
    to: str | int | datetime | None,
    shift: int | None,
    committed: Mapping[Place, int],
    earliest: Mapping[Place, int],
    latest: Mapping[Place, int],
    times: Mapping[Place, int],
) -> dict[Place, int]:
    """The offset that each partition is to have, between its two ends.

    A time after the last record is the end. RejectedError for a shift from an offset that there is none of.
    """
    wanted: dict[Place, int] = {}
    for each, end in latest.items():
        if shift is not None:
            if each not in committed:
                raise RejectedError(
                    f"reset offsets of group {group}: it has no offset for {each[0]} [{each[1]}] to shift",
                    op="reset offsets",
                )
            wanted[each] = committed[each] + shift
        elif isinstance(to, datetime):
            wanted[each] = times[each] if times[each] >= 0 else end
        elif isinstance(to, int):
            wanted[each] = to
        else:
            wanted[each] = earliest[each] if to == "earliest" else end
    return {each: min(max(offset, earliest[each]), latest[each]) for each, offset in wanted.items()}
