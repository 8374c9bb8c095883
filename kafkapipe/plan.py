"""A file of declared topics against a cluster: what is to be done, and doing it.

    topics:
      colors: {partitions: 3, replication_factor: 1, config: {retention.ms: 86400000}}
      old-colors: {state: absent}

A topic that the file does not name is left alone, and so is a setting; a setting of null is put back to the
cluster's default. A topic is deleted only when the file says ``state: absent`` and the caller says so, too.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from . import _html, _yaml
from ._problems import validate
from .admin import Admin, TopicDescription
from .errors import RejectedError
from .topics import problem_with_name

Action = Literal["create", "add partitions", "change settings", "delete"]


def _text(value: Any) -> Any:
    """A setting as Kafka writes it: true, not True."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


class TopicSpec(BaseModel):
    """One declared topic. What is left out is the cluster's choice, or stays as it is."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["present", "absent"] = "present"
    partitions: int | None = Field(None, ge=1)
    replication_factor: int | None = Field(None, ge=1)
    config: dict[str, Annotated[str | None, BeforeValidator(_text)]] = {}


class TopicsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    topics: dict[str, Annotated[TopicSpec, BeforeValidator(lambda value: {} if value is None else value)]]

    @field_validator("topics")
    @classmethod
    def _check_names(cls, topics: dict[str, TopicSpec]) -> dict[str, TopicSpec]:
        for name in topics:
            if problem := problem_with_name(name):
                raise ValueError(f'the topic name "{name:.40}" {problem}')
        return topics


@dataclass(frozen=True)
class Change:
    """One step of a plan."""

    action: Action
    topic: str
    partitions: int | None = None
    """How many the topic will have."""
    replication_factor: int | None = None
    config: Mapping[str, str | None] = field(default_factory=dict)
    """The settings that change; None: back to the default."""
    before: Mapping[str, str | None] = field(default_factory=dict)
    """What they are now."""

    @property
    def details(self) -> str:
        """What the step sets, in words; empty when it deletes."""
        count = self.partitions
        parts = [f"{count} partition{'s' * (count != 1)}"] if count else []
        if self.action == "create":
            copies = self.replication_factor
            parts.append(f"replication factor {copies}" if copies else "the cluster's replication factor")
        for name, value in self.config.items():
            before = f" (was {self.before[name]})" if self.before.get(name) is not None else ""
            parts.append(f"{name} = {'the default' if value is None else value}{before}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Plan:
    """What makes the cluster what the file says."""

    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    """Topics that the file wants to be deleted, but the caller does not."""

    def __bool__(self) -> bool:
        return bool(self.changes)

    def _repr_html_(self) -> str:
        kept = (("keep", name, "declared absent, but not to be deleted") for name in self.kept)
        rows = [*((each.action, each.topic, each.details) for each in self.changes), *kept]
        return _html.table(("action", "topic", "details"), rows, "" if self else "nothing to change")


def load(path: str | os.PathLike[str]) -> dict[str, TopicSpec]:
    """The topics declared in this file; ConfigError with one line per problem."""
    return validate(_yaml.read(path, keys="topics"), TopicsFile).topics


def loads(text: str, source: str = "topics") -> dict[str, TopicSpec]:
    """The topics declared in this text, which messages call ``source``; else as ``load``."""
    return validate(_yaml.parse(text, source, keys="topics"), TopicsFile).topics


def make(
    declared: Mapping[str, TopicSpec], cluster: Mapping[str, TopicDescription], *, delete: bool = False
) -> Plan:
    """The steps from what is there to what is declared.

    RejectedError, with a line for each, when something is declared that Kafka cannot change.
    """
    if problems := [line for name in declared for line in _problems(name, declared[name], cluster.get(name))]:
        raise RejectedError("\n".join(problems), op="apply topics")
    unwanted = [name for name, spec in declared.items() if spec.state == "absent" and name in cluster]
    wanted = {name: spec for name, spec in declared.items() if spec.state == "present"}
    changes = [change for name, spec in wanted.items() for change in _changes(name, spec, cluster.get(name))]
    deletions = [Change("delete", name) for name in unwanted] if delete else []
    return Plan((*changes, *deletions), () if delete else tuple(unwanted))


def _problems(name: str, spec: TopicSpec, found: TopicDescription | None) -> Iterable[str]:
    if found is None or spec.state == "absent":
        return
    has = len(found.partitions)
    if spec.partitions is not None and spec.partitions < has:
        yield (
            f"topic {name}: has {has} partitions and {spec.partitions} are declared: Kafka cannot take any "
            "away; declare as many, or make a new topic"
        )
    if spec.replication_factor not in (None, found.replication_factor):
        yield (
            f"topic {name}: has replication factor {found.replication_factor} and {spec.replication_factor} "
            "is declared: move its replicas with kafka-reassign-partitions, or declare what it has"
        )


def _changes(name: str, spec: TopicSpec, found: TopicDescription | None) -> Iterable[Change]:
    if found is None:
        yield Change("create", name, spec.partitions or 1, spec.replication_factor, spec.config)
        return
    if spec.partitions is not None and spec.partitions > len(found.partitions):
        yield Change("add partitions", name, spec.partitions)
    own = found.overrides
    config = {key: value for key, value in spec.config.items() if not _same(own.get(key), value)}
    if config:
        yield Change("change settings", name, config=config, before={key: own.get(key) for key in config})


def _same(found: str | None, declared: str | None) -> bool:
    """Whether Kafka, which writes values its own way, means the same by both."""
    if found is None or declared is None:
        return found is declared
    return _plain(found) == _plain(declared)


def _plain(value: str) -> object:
    try:
        return Decimal(value)
    except InvalidOperation:
        pass
    if value.lower() in ("true", "false"):
        return value.lower()
    return [part.strip() for part in value.split(",")]


async def read_cluster(
    admin: Admin,
    names: Iterable[str],
    *,
    timeout: float = 10.0,  # noqa: ASYNC109
) -> dict[str, TopicDescription]:
    """Those of the topics that exist."""
    listed = await admin.list_topics(timeout=timeout)
    existing = {topic.name for topic in listed} & set(names)
    found = await asyncio.gather(*(admin.describe_topic(name, timeout=timeout) for name in existing))
    return {topic.name: topic for topic in found}


async def apply(admin: Admin, plan: Plan, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
    """Do the steps of a plan in order, each within ``timeout``; when one fails, those before it are done."""
    for change in plan.changes:
        await _do(admin, change, timeout)


async def _do(admin: Admin, change: Change, timeout: float) -> None:  # noqa: ASYNC109
    name, partitions = change.topic, change.partitions or 1
    if change.action == "create":
        config = {key: value for key, value in change.config.items() if value is not None}
        await admin.create_topic(name, partitions, change.replication_factor, config, timeout=timeout)
    elif change.action == "add partitions":
        await admin.create_partitions(name, partitions, timeout=timeout)
    elif change.action == "change settings":
        await admin.alter_config(name, change.config, timeout=timeout)
    else:
        await admin.delete_topic(name, timeout=timeout)
