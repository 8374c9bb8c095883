"""The names that Kafka allows for topics."""

import re

from .errors import RejectedError

LONGEST = 249
"""Characters in the longest name."""

INTERNAL = frozenset(
    {"__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"}
)
"""Topics that belong to Kafka itself."""


def problem_with_name(name: str) -> str | None:
    """The rule that this name of a topic breaks, as the end of a sentence; None when it breaks none."""
    if not name:
        return "is empty: a topic's name has 1 to 249 characters"
    if len(name) > LONGEST:
        return f"has {len(name)} characters: a topic's name has at most {LONGEST}"
    if name in (".", ".."):
        return f'is "{name}", which is a folder: a topic cannot be named "." or ".."'
    wrong = re.search(r"[^A-Za-z0-9._-]", name)
    if wrong:
        return f"has {wrong[0]!r}: a topic's name has letters a to z, digits, '.', '_' and '-' only"
    if name in INTERNAL:
        return "is Kafka's own: choose another name"
    return None


def validate_topic_name(name: str) -> str:
    """The name itself, when Kafka allows it for a topic of ours.

    Letters, digits, ``.``, ``_`` and ``-``; 1 to 249 of them; not ``.`` or ``..``; not one of Kafka's own.
    Raises RejectedError that says which rule is broken.
    """
    if not isinstance(name, str):
        raise RejectedError(
            f"topic name {name!r:.80}: give text", op="check topic name", code="INVALID_TOPIC"
        )
    problem = problem_with_name(name)
    if problem:
        raise RejectedError(
            f'topic name "{_short(name)}" {problem}', op="check topic name", code="INVALID_TOPIC"
        )
    return name


def _short(name: str) -> str:
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in name[:40])
    return shown if len(name) <= 40 else f"{shown}…"
