"""Writes docs/options.md from the models in kafkapipe/config.py; --check fails when the page is stale."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kafkapipe._schema import json_schema

SCHEMA = json_schema()
PAGE = Path(__file__).with_name("options.md")

HEAD = """# Options of the configuration file

Made from `kafkapipe/config.py` by `docs/options.py`; do not edit. `kafkapipe check FILE` validates a file,
`kafkapipe config schema` prints the JSON Schema for editors.

* A **size** is a number of bytes or text like `64KiB`, `128MiB`, `1GB`.
* A **duration** is text like `500ms`, `30s`, `5m`, `1h`.
* In any value, `${NAME}` is the environment variable NAME and `${file:PATH}` the content of a file; `$${`
  is `${` itself.
* A **template** has the placeholders `{topic}` `{partition}` `{offset}` `{end}` `{timestamp:%Y-%m-%d}`
  `{key}` `{field:user.id}`; `{{` and `}}` are braces. `{key|none}` and `{field:user.id|none}` have a default
  for records that lack the value. Times are in UTC, of `%Y %m %d %H %M %S %j`.
"""


def main() -> int:
    page = "\n".join([HEAD, *_section("", SCHEMA)])
    if "--check" not in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page
    if stale:
        print("docs/options.md is stale: run python docs/options.py", file=sys.stderr)
    return int(stale)


def _section(path: str, section: dict[str, Any]) -> Iterator[str]:
    """The table of a section's options, then the sections below it."""
    yield f"## {f'`{path}`' if path else 'The file'}\n\n{section.get('description', '')}\n"
    yield "| option | type | default | what it is |\n| --- | --- | --- | --- |"
    required = section.get("required", [])
    below: list[tuple[str, dict[str, Any]]] = []
    for name, option in section["properties"].items():
        below += _below(f"{path}.{name}" if path else name, option)
        default = "required" if name in required else _default(option)
        yield f"| `{name}` | {_kind(option)} | {default} | {' '.join(option.get('description', '').split())} |"
    yield ""
    for inner, model in below:
        yield from _section(inner, model)


def _resolve(option: dict[str, Any]) -> dict[str, Any]:
    reference = option.get("$ref")
    return SCHEMA["$defs"][reference.rpartition("/")[2]] if reference else option


def _choices(option: dict[str, Any]) -> list[dict[str, Any]]:
    """What an option may be, apart from null."""
    choices = option.get("anyOf") or option.get("oneOf") or [option]
    return [inner for each in choices if each.get("type") != "null" for inner in _inner(each, option)]


def _inner(each: dict[str, Any], option: dict[str, Any]) -> list[dict[str, Any]]:
    return [each] if each is option or not ("anyOf" in each or "oneOf" in each) else _choices(each)


def _below(path: str, option: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for choice in _choices(option):
        model = _resolve(choice)
        if "properties" in model:
            kind = model["properties"].get("type", {}).get("const")
            yield f"{path}: {{type: {kind}}}" if kind else path, model
        elif isinstance(choice.get("items"), dict):
            yield from _below(f"{path}[]", choice["items"])
        elif isinstance(choice.get("additionalProperties"), dict):
            yield from _below(f"{path}.NAME", choice["additionalProperties"])


def _kind(option: dict[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_one_kind(each) + _range(each) for each in _choices(option)))


def _one_kind(option: dict[str, Any]) -> str:
    names = {"string": "text", "integer": "number", "boolean": "true or false", "object": "mapping"}
    if "enum" in option or "const" in option:
        return ", ".join(f"`{each}`" for each in option.get("enum", [option.get("const")]))
    if "properties" in _resolve(option):
        return "section"
    if option.get("type") == "array" and "x-kind" not in option:
        return "list"
    return str(option.get("x-kind") or names.get(option.get("type", ""), "any"))


def _range(option: dict[str, Any]) -> str:
    bounds = [option[key] for key in ("minimum", "maximum") if key in option]
    if len(bounds) == 2:
        return f", {bounds[0]} to {bounds[1]}"
    return f", at least {bounds[0]}" if "minimum" in option else ""


def _default(option: dict[str, Any]) -> str:
    value = option.get("default")
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "[]"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.exit(main())
