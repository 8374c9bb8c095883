"""Types of configuration values that carry a rule of Kafka's, librdkafka's or the collector's."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from ._properties import known
from ._template import nearest
from .topics import problem_with_name

# properties that kafkapipe sets itself, and what to use in their place
_RESERVED = {
    "group.id": "set the pipeline's group",
    "auto.offset.reset": "set the pipeline's start",
    "enable.auto.commit": "kafkapipe commits an offset when the sink has the record",
    "enable.auto.offset.store": "kafkapipe commits an offset when the sink has the record",
    "enable.partition.eof": "kafkapipe has no use for it",
}


def _property_name(name: str) -> str:
    if name in _RESERVED:
        raise ValueError(f"cannot be set here: {_RESERVED[name]}")
    if name not in known():
        raise ValueError(f"unknown librdkafka property{nearest(name, known())}")
    return name


def _property_value(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _topic(name: str) -> str:
    problem = problem_with_name(name)
    if problem:
        raise ValueError(problem)
    return name


def _topic_or_pattern(name: str) -> str:
    if not name.startswith("^"):
        return _topic(name)
    try:
        re.compile(name)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return name


def _name(name: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,200}", name):
        raise ValueError("a pipeline's name has 1 to 200 letters, digits, '.', '_' and '-'")
    return name


def _route_path(path: str) -> str:
    parameters = re.findall(r"(?<=/)\{([A-Za-z_]\w*)\}(?=/|$)", path)
    if not re.fullmatch(r"/[^\s?#{}]*", re.sub(r"(?<=/)\{[A-Za-z_]\w*\}(?=/|$)", "x", path)):
        raise ValueError(
            "must be a path like /api/select or /e/{site}, without spaces, ?, # and other braces"
        )
    if len(parameters) > len(set(parameters)):
        raise ValueError("names a part twice")
    return path


def _no_transforms(value: list[Any]) -> list[Any]:
    if value:
        raise ValueError("no transforms are known in this version; leave the list empty")
    return value


def null_type(value: object) -> object:
    """A sink's mapping whose ``type: null`` was read as no value, which is what it means in YAML."""
    return {**value, "type": "null"} if isinstance(value, dict) and value.get("type", "") is None else value


def only_drop(value: str) -> str:
    """The one word that may stand in place of a dead-letter topic."""
    if value != "drop":
        raise ValueError("must be {topic: NAME} or drop")
    return value


def subscribes(topics: list[str], name: str) -> bool:
    """Whether a subscription to these names and patterns takes this topic, too."""
    return any(re.match(each, name) if each.startswith("^") else each == name for each in topics)


Name = Annotated[str, AfterValidator(_name)]
RoutePath = Annotated[str, AfterValidator(_route_path)]
Topic = Annotated[str, AfterValidator(_topic)]
TopicOrPattern = Annotated[str, AfterValidator(_topic_or_pattern)]
Transforms = Annotated[list[Any], AfterValidator(_no_transforms)]
PropertyName = Annotated[str, AfterValidator(_property_name)]
Properties = dict[PropertyName, Annotated[str, BeforeValidator(_property_value)]]
