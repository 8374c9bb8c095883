"""Access rules of a cluster."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from . import _html
from .errors import RejectedError

CLUSTER_NAME = "kafka-cluster"
"""The name of the resource ``cluster``."""

# librdkafka calls the resource after the one that keeps its settings, and both have the same number
_TO_LIBRARY = {"CLUSTER": "BROKER"}
_FROM_LIBRARY = {library: ours for ours, library in _TO_LIBRARY.items()}

Row = tuple[str, str | None, str, str | None, str | None, str, str]


@dataclass(frozen=True)
class Acl(_html.Shown):
    """Who may (or may not) do what to which resource.

        Acl("topic", "colors", "User:alice", "write")

    Words are Kafka's, in small letters: ``resource`` is topic, group, cluster, ...; ``operation`` is all,
    read, write, create, delete, alter, describe, describe_configs, alter_configs, ...; ``pattern`` is
    literal, or prefixed for every name that begins so. The literal name ``*`` is every name.
    """

    resource: str
    name: str
    principal: str
    operation: str
    permission: str = "allow"
    host: str = "*"
    pattern: str = "literal"

    def row(self) -> Row:
        """As the core takes it."""
        return filter_row(**asdict(self))

    @classmethod
    def of_row(cls, row: Sequence[str]) -> Self:
        """From what the core gives."""
        resource, name, pattern, principal, host, operation, permission = row
        kind = _FROM_LIBRARY.get(resource, resource).lower()
        return cls(kind, name, principal, operation.lower(), permission.lower(), host, pattern.lower())


def filter_row(
    *,
    resource: str | None,
    name: str | None,
    principal: str | None,
    operation: str | None,
    permission: str | None,
    host: str | None,
    pattern: str | None,
) -> Row:
    """A filter as the core takes it: None matches everything."""
    kind = _word(resource)
    library_kind = _TO_LIBRARY.get(kind, kind)
    return library_kind, name, _word(pattern), principal, host, _word(operation), _word(permission)


def require_filter(*parts: str | None) -> None:
    """Refuse to delete every rule of a cluster by leaving out what they are to match."""
    if not any(parts):
        raise RejectedError(
            "delete acls: no filter would delete every rule: give a resource, name or principal",
            op="delete acls",
        )


def _word(text: str | None) -> str:
    return "ANY" if text is None else text.upper()
