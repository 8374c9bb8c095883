"""What an event is made of: ``$now $uuid $ip $header.x $query.x $path.x $body $body.a.b``, and constants.

A ``?`` at the end (``$header.referer?``) makes a value optional: null where it is missing, in a key nothing.
``$$`` begins a text with a dollar sign.
"""

import re
from dataclasses import dataclass

_WHOLE = re.compile(r"\$(now|uuid|ip|body|(?:header|query|path|body)\.\S*[^\s?])(\?)?")
_WITHIN = re.compile(r"\$\$|\$(now|uuid|ip|path\.\w+|(?:header|query|body)\.[\w.-]*\w|body)(\?)?")
_STEPS = 8  # of a dotted path; the scanner's bound

KNOWN = "$now, $uuid, $ip, $header.NAME, $query.NAME, $path.NAME, $body, $body.FIELD"


@dataclass(frozen=True, slots=True)
class Value:
    """One thing that is taken from a request."""

    kind: str
    """now, uuid, ip, header, query, path or body."""
    name: str = ""
    """Of the header (lower case), parameter, path part or field."""
    optional: bool = False
    """Whether it may be missing."""

    @property
    def label(self) -> str:
        """What a message calls it."""
        kinds = {"header": "header", "query": "query parameter", "path": "path part", "body": "field"}
        return f"{kinds[self.kind]} {self.name!r}" if self.name else f"${self.kind}"


def parse(text: str) -> Value | str:
    """The value that a text names, or the constant text that it is; ValueError for an unknown one."""
    if not text.startswith("$"):
        return text
    if text.startswith("$$"):
        return text[1:]
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is none of {KNOWN}; write $$ for a leading dollar sign")
    return _value(match)


def pieces(text: str) -> list[Value | str]:
    """The constants and values that a text is put together from: ``$path.site-$query.user``."""
    found: list[Value | str] = []
    at = 0
    for match in _WITHIN.finditer(text):
        found.append(text[at : match.start()])
        found.append("$" if match[0] == "$$" else _value(match))
        at = match.end()
    found.append(text[at:])
    if any(isinstance(each, str) and each != "$" and "$" in each for each in found):
        raise ValueError(f"{text!r} has a dollar sign that starts none of {KNOWN}; write $$ for a plain one")
    return [each for each in found if each != ""]


def _value(match: re.Match[str]) -> Value:
    kind, _, name = match[1].partition(".")
    if kind == "header":
        name = name.lower()
    if kind == "body" and name and not 0 < len(name.split(".")) <= _STEPS:
        raise ValueError(f"${match[1]} has more than {_STEPS} steps")
    if kind == "body" and "" in name.split(".") and name:
        raise ValueError(f"${match[1]} has an empty step between its dots")
    return Value(kind, name, bool(match[2]))
