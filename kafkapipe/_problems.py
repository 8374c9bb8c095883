"""Validates a document; each of pydantic's errors becomes one line: where, what, the nearest right word."""

import os
import re
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from ._template import nearest
from ._yaml import Document, Key, Location, expand
from .errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

_MEANING = (
    (r"(a valid )?dictionary( or .*)?$", "a mapping"),
    (r"a valid list$", "a list"),
    (r"a valid string$", "text"),
    (r"a valid integer.*", "a whole number"),
    (r"a valid boolean.*", "true or false"),
    (r"greater than or equal to", "at least"),
    (r"less than or equal to", "at most"),
    (r"^(List|String) should have at least 1 .*", "must not be empty"),
)


def validate(document: Document, model: type[Model]) -> Model:
    """The model of this document; ConfigError with one line per problem."""
    problems: list[tuple[Location, str]] = []
    data = expand(document.data, os.environ, problems)
    result = None
    try:
        result = model.model_validate(data)
    except ValidationError as error:
        problems += describe(error, model, document)
    if result is None or problems:
        raise ConfigError("\n".join(document.at(*problem) for problem in problems), op="read config")
    return result


def describe(
    error: ValidationError, model: type[BaseModel], document: Document
) -> list[tuple[Location, str]]:
    """Place and text of every problem; values are quoted as the file has them, ``${NAME}`` not filled in."""
    return [
        _describe(detail, model, document) for detail in error.errors(include_url=False, include_input=False)
    ]


def _describe(detail: ErrorDetails, model: type[BaseModel], document: Document) -> tuple[Location, str]:
    location, options, tags = _place(model, detail["loc"])
    if location and isinstance(location[-1], int) and isinstance(document.value(location[:-1]), str):
        location = location[:-1]  # a single value where a list may stand
    kind = detail["type"]
    if kind == "extra_forbidden":
        return location, f"unknown option{nearest(location[-1], options)}"
    if kind == "missing":
        return location, "is missing"
    if kind == "string_type" and detail["loc"][-1] == "[key]":
        return location, "the name must be text; put it in quotes"
    if kind == "union_tag_not_found":
        return (*location, "type"), f"is missing; there are: {', '.join(tags)}"
    if kind == "union_tag_invalid":
        found = document.value((*location, "type"))
        return (*location, "type"), f'unknown type "{found}"{nearest(found, tags)}'
    return location, _text(detail, document.value(location))


def _text(detail: ErrorDetails, found: Any) -> str:
    text = detail["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")
    for theirs, ours in _MEANING:
        text = re.sub(theirs, ours, text)
    if text.startswith("must be") and (found is None or isinstance(found, str | int | float)):
        return f"{text}, not {found!r:.80}"
    return text


def _place(model: type[BaseModel], loc: tuple[Key, ...]) -> tuple[Location, list[str], list[str]]:
    """The location without pydantic's marks, the options beside its last key, the types it may have."""
    annotation: Any = model
    location: list[Key] = []
    options: list[str] = []
    for part in loc:
        members = _members(annotation)
        if len(members) > 1:  # the part names the member of a union
            annotation = next((each for each in members if _tag(each) == part), None)
        elif part != "[key]":
            location.append(part if get_origin(members[0]) is list else str(part))
            options, annotation = _step(members[0], part)
    members = _members(annotation)
    return tuple(location), options, [_tag(each) for each in members] if len(members) > 1 else []


def _members(annotation: Any) -> list[Any]:
    """The types that a value may have, without None."""
    if get_origin(annotation) is Annotated and _tag(annotation) is None:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    members = [each for each in get_args(annotation) if each is not NoneType]
    return members if len(members) > 1 else _members(members[0])


def _step(annotation: Any, part: Key) -> tuple[list[str], Any]:
    """The options at this place and the type below one of them."""
    if get_origin(annotation) is Annotated:
        return _step(get_args(annotation)[0], part)
    if get_origin(annotation) in (dict, list):
        return [], get_args(annotation)[-1]
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return [], None
    field = annotation.model_fields.get(str(part))
    return list(annotation.model_fields), field.annotation if field else None


def _tag(member: Any) -> Any:
    if get_origin(member) is Annotated:
        return next((mark.tag for mark in get_args(member)[1:] if isinstance(mark, Tag)), None)
    return member.model_fields["type"].default
