"""The admin client: topics, consumer groups and access rules of a cluster, read and changed."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime

from . import _core, _html, acls, groups
from ._admin import LATEST, Client, Deadline, Partition
from .acls import Acl
from .errors import ConfigError, DeadlineError, RejectedError
from .groups import GroupDescription, GroupInfo, OffsetReset, Place
from .topics import INTERNAL, validate_topic_name

_LOOK_SECONDS = 0.02  # between looks at whether new partitions have their leaders


@dataclass(frozen=True)
class BrokerInfo(_html.Shown):
    """A broker, and where clients reach it."""

    id: int
    host: str
    port: int


@dataclass(frozen=True)
class ClusterDescription:
    """A cluster and its brokers."""

    id: str | None
    controller: int | None
    """The broker that takes administrative requests; with KRaft any broker may say it is this one."""
    brokers: tuple[BrokerInfo, ...]

    def _repr_html_(self) -> str:
        return _html.objects(self.brokers, f"Cluster {self.id}, controller {self.controller}")


@dataclass(frozen=True)
class TopicInfo(_html.Shown):
    """A topic in a list."""

    name: str
    partitions: int
    replication_factor: int


@dataclass(frozen=True)
class PartitionInfo(_html.Shown):
    """A partition, and the numbers of the brokers that hold it."""

    partition: int
    leader: int | None
    """None while there is none: nothing can be written or read then."""
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    """The replicas that have everything the leader has."""


@dataclass(frozen=True)
class TopicDescription:
    """A topic with its partitions and settings."""

    name: str
    partitions: tuple[PartitionInfo, ...]
    config: Mapping[str, str | None] = field(repr=False)
    """Every setting in force; None is one that Kafka does not tell."""
    overrides: Mapping[str, str | None]
    """The settings made for this topic alone."""

    @property
    def replication_factor(self) -> int:
        """Number of brokers that hold a partition."""
        return max((len(each.replicas) for each in self.partitions), default=0)

    def _repr_html_(self) -> str:
        settings = [f"{name} = {value}" for name, value in self.overrides.items()]
        count = f"{len(self.partitions)} partition{'s' * (len(self.partitions) != 1)}"
        caption = ", ".join((count, f"replication factor {self.replication_factor}", *settings))
        return _html.objects(self.partitions, f"{self.name}: {caption}")


class Admin(Client):
    """Manages a cluster; an async context manager that belongs to one event loop.

        async with Admin("127.0.0.1:9092") as admin:
            await admin.create_topic("colors", partitions=3, config={"retention.ms": "86400000"})

    Takes servers and properties as Producer does. Every call has a ``timeout`` in seconds and raises
    DeadlineError, naming the broker, when there was no answer in time; calls may run at the same time.
    RejectedError says that the cluster refuses, and why.
    """

    # ---- topics ----

    async def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication_factor: int | None = 1,
        config: Mapping[str, str] | None = None,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109 - goes to the broker
    ) -> None:
        """Make a topic. When this returns, each of its partitions has a leader.

        ``config`` are settings of the topic, like ``retention.ms``; a replication factor of None is the
        cluster's default. RejectedError when the name breaks a rule, the topic is there already, or the
        cluster refuses the settings.
        """
        validate_topic_name(name)
        if not _is_count(partitions) or not (replication_factor is None or _is_count(replication_factor)):
            raise RejectedError(
                f"create topic {name}: {partitions!r} partitions, replication factor {replication_factor!r}: "
                "give at least 1 of each",
                op="create topic",
            )
        deadline = Deadline(timeout)
        copies = -1 if replication_factor is None else replication_factor
        given = {key: _setting(key, value) for key, value in (config or {}).items()}
        settings = {key: value for key, value in given.items() if value is not None}
        await self.call("create_topic", name, partitions, copies, settings, timeout=timeout)
        await self._until_led("create topic", name, partitions, deadline)

    async def delete_topic(self, name: str, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Delete a topic and all its records. RejectedError when there is none of this name."""
        validate_topic_name(name)
        await self.call("delete_topic", name, timeout=timeout)

    async def list_topics(self, *, internal: bool = False, timeout: float = 10.0) -> list[TopicInfo]:  # noqa: ASYNC109
        """All topics, by name; those of Kafka's own only with ``internal``."""
        topics = await self.metadata(None, timeout)
        found = (_info(name, partitions) for name, partitions in topics if internal or name not in INTERNAL)
        return _html.Rows(sorted(found, key=lambda topic: topic.name))

    async def describe_topic(self, name: str, *, timeout: float = 10.0) -> TopicDescription:  # noqa: ASYNC109
        """Partitions and settings of a topic. RejectedError when there is none of this name."""
        if name not in INTERNAL:
            validate_topic_name(name)
        metadata, config = await asyncio.gather(
            self.metadata(name, timeout), self.call("describe_config", name, timeout=timeout)
        )
        return TopicDescription(
            name,
            tuple(_partition(each) for each in sorted(metadata[0][1])),
            config={key: value for key, value, _ in sorted(config)},
            overrides={key: value for key, value, is_own in sorted(config) if is_own},
        )

    async def create_partitions(self, name: str, total: int, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Give a topic more partitions: ``total`` of them. When this returns, each has a leader.

        Records stay where they are, but keys may go to other partitions from now on. RejectedError when the
        topic has so many already: partitions cannot be taken away.
        """
        validate_topic_name(name)
        deadline = Deadline(timeout)
        if not _is_count(total):
            raise RejectedError(
                f"add partitions to topic {name}: {total!r}: give how many it is to have, more than now",
                op="create partitions",
            )
        await self.call("create_partitions", name, total, timeout=timeout)
        await self._until_led("add partitions to topic", name, total, deadline)

    async def alter_config(
        self,
        name: str,
        config: Mapping[str, str | None],
        *,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> None:
        """Change these settings of a topic and no others; None puts one back to the cluster's default.

        librdkafka before 2.2 can only replace all settings of a topic. They are read and sent along then:
        what another program changes in that moment is lost.
        """
        deadline = Deadline(timeout)
        config = {key: _setting(key, value) for key, value in config.items()}
        if _core.alters_singly:
            await self.call("alter_config", name, config, timeout=timeout)
            return
        try:
            await asyncio.wait_for(self._altering.acquire(), timeout)
        except TimeoutError:
            raise DeadlineError(
                f"change settings of topic {name}: other changes were not done within {timeout:g} s",
                op="alter config",
            ) from None
        try:
            found = await self.call("describe_config", name, timeout=deadline.left)
            await self.call("alter_config", name, _merged(name, found, config), timeout=deadline.left)
        finally:
            self._altering.release()

    async def delete_records(
        self,
        name: str,
        before: Mapping[int, int | None],
        *,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> dict[int, int]:
        """Delete the records before an offset of each of these partitions; None: all there are.

        Returns the partitions' new first offsets. RejectedError for an offset beyond the end.
        """
        deadline = Deadline(timeout)
        partitions = await groups.expand(self, "delete records", [(name, each) for each in before], deadline)
        ends = {number: LATEST if offset is None else offset for number, offset in before.items()}
        wanted = [(name, number, ends[number]) for _, number in partitions]
        rows = await self.call("delete_records", wanted, timeout=deadline.left) if wanted else []
        return {partition: offset for _, partition, offset in rows}

    # ---- cluster ----

    async def describe_cluster(self, *, timeout: float = 10.0) -> ClusterDescription:  # noqa: ASYNC109
        """The brokers that are up, the controller among them."""
        found = await self.cluster(timeout)
        brokers = sorted((BrokerInfo(*each) for each in found["brokers"]), key=lambda broker: broker.id)
        return ClusterDescription(found["id"], found["controller"], tuple(brokers))

    # ---- consumer groups ----

    async def list_groups(self, *, timeout: float = 10.0) -> list[GroupInfo]:  # noqa: ASYNC109
        """All consumer groups, by name."""
        return await groups.list_groups(self, timeout)

    async def describe_group(self, name: str, *, timeout: float = 10.0) -> GroupDescription:  # noqa: ASYNC109
        """Members, offsets and lag of a group. RejectedError when there is none of this name."""
        return await groups.describe_group(self, name, timeout)

    async def delete_group(self, name: str, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Delete a group and its offsets. RejectedError when it has members, or there is no such group."""
        await self.call("delete_group", name, timeout=timeout)

    async def reset_offsets(
        self,
        group: str,
        to: str | int | datetime | None = None,
        *,
        shift: int | None = None,
        topics: Iterable[str | Place] | None = None,
        dry_run: bool = False,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> list[OffsetReset]:
        """Let a group go on from elsewhere, or see with ``dry_run`` what that would change.

        ``to`` is "earliest", "latest", an offset, or a time (local when it has no zone); ``shift`` is a
        number of records on, or back.

        ``topics`` are names or pairs of name and partition; by default all that the group has offsets for. A
        time is the first record of that time or later, and an offset outside a partition is its nearest end.
        RejectedError, saying who is in it, when the group is not empty.
        """
        return await groups.reset_offsets(
            self, group, to=to, shift=shift, topics=topics, dry_run=dry_run, timeout=timeout
        )

    # ---- access rules ----

    async def create_acl(self, acl: Acl, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Add an access rule; one that is there already stays as it is."""
        await self.call("create_acl", acl.row(), timeout=timeout)

    async def describe_acls(
        self,
        *,
        resource: str | None = None,
        name: str | None = None,
        principal: str | None = None,
        operation: str | None = None,
        permission: str | None = None,
        host: str | None = None,
        pattern: str | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> list[Acl]:
        """The access rules that match all that is given, with words as in Acl.

        The ``pattern`` "match" finds every rule that is in force for ``name``, whatever its pattern. Who may
        not describe the cluster is told of no rules, as librdkafka drops that refusal.
        """
        row = acls.filter_row(
            resource=resource,
            name=name,
            principal=principal,
            operation=operation,
            permission=permission,
            host=host,
            pattern=pattern,
        )
        return _sorted_acls(await self.call("describe_acls", row, timeout=timeout))

    async def delete_acls(
        self,
        *,
        resource: str | None = None,
        name: str | None = None,
        principal: str | None = None,
        operation: str | None = None,
        permission: str | None = None,
        host: str | None = None,
        pattern: str | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> list[Acl]:
        """Delete the access rules that match all that is given, and return them.

        RejectedError unless at least one of resource, name and principal is given.
        """
        acls.require_filter(resource, name, principal)
        row = acls.filter_row(
            resource=resource,
            name=name,
            principal=principal,
            operation=operation,
            permission=permission,
            host=host,
            pattern=pattern,
        )
        return _sorted_acls(await self.call("delete_acls", row, timeout=timeout))

    # ----

    async def _until_led(self, what: str, name: str, partitions: int, deadline: Deadline) -> None:
        """Wait until all partitions of a topic have a leader."""
        while not await self._has_leaders(name, partitions, deadline):
            if deadline.passed:
                raise DeadlineError(
                    f"{what} {name}: it is done, but not all of its partitions have a leader yet", op=what
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _has_leaders(self, name: str, partitions: int, deadline: Deadline) -> bool:
        try:
            ((_, found),) = await self.metadata(name, deadline.left)
        except RejectedError:  # not every broker has heard of it
            return False
        return sum(each[1] >= 0 for each in found) >= partitions


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def _setting(name: str, value: object) -> str | None:
    """A setting as Kafka writes it: true, not True."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str | int | float):
        return value if value is None else str(value)
    raise ConfigError(f"setting {name} of a topic is {value!r:.80}: give text, a number or a bool")


def _merged(
    name: str, found: Iterable[tuple[str, str | None, bool]], changes: Mapping[str, str | None]
) -> dict[str, str]:
    """All settings that a topic is to have of its own: those it has, with these changes."""
    own = {key: value for key, value, is_own in found if is_own}
    merged = {**own, **changes}
    secret = [key for key in merged if merged[key] is None and key not in changes]
    if secret:
        raise RejectedError(
            f"change settings of topic {name}: {secret[0]} is set, but Kafka does not tell its value: "
            "give it too, or use librdkafka 2.2 or newer",
            op="alter config",
        )
    return {key: value for key, value in merged.items() if value is not None}


def _sorted_acls(rows: Iterable[list[str]]) -> list[Acl]:
    return _html.Rows(sorted(map(Acl.of_row, rows), key=astuple))


def _info(name: str, partitions: list[Partition]) -> TopicInfo:
    return TopicInfo(name, len(partitions), max((len(each[2]) for each in partitions), default=0))


def _partition(found: Partition) -> PartitionInfo:
    number, leader, replicas, in_sync = found
    return PartitionInfo(number, leader if leader >= 0 else None, replicas, in_sync)
