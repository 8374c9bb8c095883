"""Checks the name templates of files and indexes at load time; csrc/core/template.c renders them.

Placeholders: {topic} {partition} {offset} {end} {timestamp:%Y-%m-%d} {key} {field:user.id}.
{key|none} and {field:user.id|none} have a default, for records without one. Braces are written twice.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

NAMES = ("topic", "partition", "offset", "end", "timestamp", "key", "field")
TIME_LETTERS = "YmdHMSj"

COORDINATES = "topic+partition+offset"
"""The id of a document that only one record can have."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_INDEX_FORBIDDEN = set('\\/*?"<>| ,#:')


def nearest(word: object, known: Iterable[str]) -> str:
    """The end of a message on an unknown word: ``; did you mean "rotate"?``, or the words there are."""
    words = list(known)
    close = get_close_matches(str(word), words, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; there are: {', '.join(words)}" if 0 < len(words) <= 12 else ""


def placeholders(template: str) -> list[str]:
    """The names of the placeholders of a template, in order; ValueError when it is none."""
    return [name for name, _ in _pieces(template) if name]


def literals(template: str) -> str:
    """What stands outside the placeholders."""
    return "".join(text for name, text in _pieces(template) if not name)


def defaults(template: str) -> str:
    """The defaults of the placeholders, behind one another."""
    found = (text[1:-1].partition("|")[2] for name, text in _pieces(template) if name)
    return "".join(found)


def _pieces(template: str) -> list[tuple[str, str]]:
    pieces = []
    for match in _PIECE.finditer(template):
        text = match[0]
        if text in ("{", "}"):
            raise ValueError(
                f'has a lone "{text}" at position {match.start() + 1}; write it twice to mean a brace'
            )
        if match[1] is None:
            pieces.append(("", text[0] if text in ("{{", "}}") else text))
        else:
            pieces.append((_placeholder(match[1]), text))
    return pieces


def _placeholder(inside: str) -> str:
    inside, bar, default = inside.partition("|")
    name, colon, argument = inside.partition(":")
    if bar and (name not in ("key", "field") or not default):
        raise ValueError(f"has {{{inside}|{default}}}; a default is for {{key|TEXT}} and {{field:NAME|TEXT}}")
    if name not in NAMES:
        raise ValueError(f"has the unknown placeholder {{{inside}}}{nearest(name, NAMES)}")
    if name == "timestamp":
        _check_time(argument)
    elif name == "field":
        if not argument or "" in argument.split("."):
            raise ValueError("needs the name of the field in {field:NAME}, like {field:user.id}")
    elif colon:
        raise ValueError(f"has {{{inside}}}, but {{{name}}} takes no argument")
    return name


def _check_time(form: str) -> None:
    letters = re.findall(r"%(.?)", form)
    if not letters:
        raise ValueError("needs a form in {timestamp:FORM}, like {timestamp:%Y-%m-%d}")
    for letter in letters:
        if not letter or letter not in TIME_LETTERS:
            known = " ".join(f"%{each}" for each in TIME_LETTERS)
            raise ValueError(f"has %{letter} in {{timestamp:{form}}}; there are: {known}")


def check_file_path(template: str) -> str:
    """A path template whose files cannot collide within a topic."""
    names = placeholders(template)
    missing = [f"{{{name}}}" for name in ("partition", "offset") if name not in names]
    if missing:
        raise ValueError(f"must contain {' and '.join(missing)}, or files would overwrite each other")
    folder, _, last = template.rpartition("/")
    if not last:
        raise ValueError("must end in a file name, not in /")
    if any(part in ("..", ".") for part in folder.split("/")):
        raise ValueError('must not have "." or ".." among its folders')
    if "//" in template:
        raise ValueError('must not have "//" in it')
    return template


def with_mark(template: str, mark: str) -> str:
    """The path with ``.MARK`` before the ending of its files' names."""
    folder, slash, name = template.rpartition("/")
    stem, brace, tail = name.rpartition("}")
    before, dot, ending = tail.partition(".")
    return f"{folder}{slash}{stem}{brace}{before}.{mark}{dot}{ending}"


def check_absolute(template: str) -> str:
    """A path that starts at the root."""
    if not template.startswith("/"):
        raise ValueError('must be absolute: start it with "/"')
    return template


def check_index(template: str) -> str:
    """A template of an Elasticsearch index name."""
    names = placeholders(template)
    if "end" in names:
        raise ValueError("has {end}, which only files have")
    text = literals(template) + defaults(template)
    wrong = sorted(_INDEX_FORBIDDEN & set(text))
    if wrong:
        raise ValueError(f"has {' '.join(wrong)!r}, which an index name must not have")
    if text != text.lower():
        raise ValueError("must be lower case")
    if template[:1] in ("", "-", "_", "+") or template in (".", ".."):
        raise ValueError("must not be empty, nor start with -, _ or +")
    return template


def check_id(text: str) -> str:
    """``topic+partition+offset``, ``auto``, ``key``, or a template that differs by record."""
    if text in (COORDINATES, "auto", "key"):
        return text
    names = placeholders(text)
    if "end" in names:
        raise ValueError("has {end}, which only files have")
    if not {"key", "field", "offset"} & set(names):
        raise ValueError(
            f"is {COORDINATES}, key, auto or a template with {{key}}, {{field:NAME}} or {{offset}}: "
            "else all records would be one document"
        )
    return text


def check_routing(text: str) -> str:
    """``key``, or a template."""
    if text != "key" and not placeholders(text):
        raise ValueError("is key, or a template like {field:user.id}")
    return text


def key_template(text: str) -> str:
    """The template that is meant: the word ``key`` is short for {key}."""
    return "{key}" if text == "key" else text


def lacks_default(template: str, name: str) -> bool:
    """Whether a placeholder of this name has no default."""
    return any(each == name and "|" not in text for each, text in _pieces(template))


def as_pattern(template: str, topics: Iterable[str]) -> str:
    """A pattern with * for what differs by record; a single topic stands for itself."""
    known = list(topics)
    pattern = ""
    for name, text in _pieces(template):
        pattern += text if not name else known[0].lower() if name == "topic" and len(known) == 1 else "*"
    return re.sub(r"\*+", "*", pattern)
