"""Reads a configuration file: YAML with line numbers, no doubled keys, and ``${NAME}`` filled in.

Nothing here knows any option. A value filled in from the environment or from a file never appears in a
message: messages quote the text of the file.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError

Key = str | int
Location = tuple[Key, ...]

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def dotted(location: Location) -> str:
    """``("collector", "routes", 0, "path")`` as ``collector.routes[0].path``."""
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


@dataclass(frozen=True)
class Document:
    """What a file says: plain data, and the line on which each key stands."""

    source: str
    data: Any
    lines: Mapping[Location, int] = field(default_factory=dict)

    def at(self, location: Location, text: str) -> str:
        """One line on a problem: file, line, path to the key, text."""
        known = next(
            (self.lines[location[:n]] for n in range(len(location), -1, -1) if location[:n] in self.lines),
            None,
        )
        where = [f"{self.source}:{known}" if known else self.source, dotted(location)]
        line = ": ".join(part for part in (*where, text) if part)
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)

    def value(self, location: Location) -> Any:
        """The data at this place as it stands in the file; None when there is nothing."""
        found = self.data
        for key in location:
            try:
                found = found[key]
            except (LookupError, TypeError):
                return None
        return found


_KEYS = "kafka, collector, pipelines, management"


def read(path: str | os.PathLike[str], keys: str = _KEYS) -> Document:
    """The document in this file; ConfigError when it cannot be read or is no mapping (of these keys)."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", op="read config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}", op="read config") from None
    return parse(text, str(path), keys)


def parse(text: str, source: str, keys: str = _KEYS) -> Document:
    """The document in this text; ``source`` is its name in messages."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            lines = _lines(node, source) if node else {}
            data = loader.construct_document(node) if node else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{source}{line}: is no valid YAML: {error.problem}", op="read config") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{source}: is no valid YAML: {reason}", op="read config") from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{source}: must be a mapping with the key{'s' * (',' in keys)} {keys}",
            op="read config",
        )
    return Document(source, data, lines)


def _lines(root: yaml.Node, source: str) -> dict[Location, int]:
    lines: dict[Location, int] = {}
    for location, line in _walk(root, (), frozenset()):
        if location in lines:
            first = lines[location]
            raise ConfigError(
                f"{source}:{line}: {dotted(location)}: stands twice; the first is on line {first}",
                op="read config",
            )
        lines[location] = line
    return lines


def _walk(node: yaml.Node, location: Location, above: frozenset[int]) -> Iterator[tuple[Location, int]]:
    if id(node) in above:
        raise ConfigError(f"{dotted(location)}: a YAML alias contains itself", op="read config")
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*location, key.value)
            yield here, key.start_mark.line + 1
            yield from _walk(value, here, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*location, index), item.start_mark.line + 1
            yield from _walk(item, (*location, index), above)


def expand(
    data: Any, environ: Mapping[str, str], problems: list[tuple[Location, str]], location: Location = ()
) -> Any:
    """The data with every ``${NAME}`` and ``${file:PATH}`` filled in; ``$${`` stands for ``${`` itself.

    What cannot be filled in is added to ``problems`` and left as it is.
    """
    if isinstance(data, dict):
        return {key: expand(value, environ, problems, (*location, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [expand(value, environ, problems, (*location, index)) for index, value in enumerate(data)]
    if not isinstance(data, str) or "${" not in data:
        return data
    try:
        return _REFERENCE.sub(lambda match: "${" if match[1] is None else _lookup(match[1], environ), data)
    except ValueError as error:
        problems.append((location, str(error)))
        return data


def _lookup(reference: str, environ: Mapping[str, str]) -> str:
    if reference.startswith("file:"):
        return _secret_file(reference.removeprefix("file:"))
    if not _NAME.fullmatch(reference):
        raise ValueError("after ${ stands the name of an environment variable or file:PATH, then }")
    if reference not in environ:
        raise ValueError(f"the environment variable {reference} is not set")
    return environ[reference]


def _secret_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
