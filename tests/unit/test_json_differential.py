"""The scanner against Python's json: what is accepted, and where fields lie.

They differ by intent in four points, which the oracle below levels: Python takes NaN and Infinity, half
surrogate pairs in escapes, any depth, and integers only to a number of digits.
"""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kafkapipe import _core
from kafkapipe.errors import RejectedError

DEPTH_MAX = 512
VECTORS = Path(__file__).parents[1] / "c" / "json_vectors.h"


class Pairs(list):
    """An object as the (key, value) pairs it is written with: keys may come twice."""


def refuse(constant):
    raise ValueError(constant)


def parse(data):
    """The value, objects as Pairs, numbers as their text; ValueError when it is none by our rules."""
    value = json.loads(
        data.decode(),
        parse_constant=refuse,
        parse_int=lambda digits: ("number", digits),
        parse_float=lambda digits: ("number", digits),
        object_pairs_hook=Pairs,
    )
    check(value, 0)
    return value


def check(value, depth):
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError, a ValueError, for half a surrogate pair
    elif isinstance(value, list):
        if depth == DEPTH_MAX:
            raise ValueError("too deep")
        for item in value:
            if isinstance(value, Pairs):
                item[0].encode()
                item = item[1]  # noqa: PLW2901
            check(item, depth + 1)


def is_valid(data):
    try:
        parse(data)
    except (ValueError, RecursionError):
        return False
    return True


# ---- documents ----

names = st.one_of(
    st.sampled_from(["a", "b", "user", "이름", "홍길동", 'quote " and\nnewline', "", "😀", "a.b"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
numbers = st.one_of(
    st.integers(-(2**80), 2**80),
    st.just(9007199254740993),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, names),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(st.tuples(names, inner), max_size=5).map(Pairs)
    ),
    max_leaves=25,
)
spaces = st.sampled_from(["", "", "", " ", "\n", "\t \r\n"])


@st.composite
def documents(draw):
    """One JSON text in bytes, with white space, duplicate keys and either kind of non-ASCII characters."""
    ascii_only = draw(st.booleans())
    return write(draw(values), lambda: draw(spaces), ascii_only).encode()


def write(value, space, ascii_only):
    if isinstance(value, Pairs):
        members = [
            f"{space()}{json.dumps(key, ensure_ascii=ascii_only)}{space()}:{write(item, space, ascii_only)}"
            for key, item in value
        ]
        return f"{space()}{{{','.join(members) or space()}}}{space()}"
    if isinstance(value, list):
        items = [write(item, space, ascii_only) for item in value]
        return f"{space()}[{','.join(items) or space()}]{space()}"
    return f"{space()}{json.dumps(value, ensure_ascii=ascii_only)}{space()}"


def paths_of(value, steps=()):
    """The dotted paths that lead somewhere in a value, as tuples of keys."""
    if steps:
        yield steps
    if isinstance(value, Pairs) and len(steps) < 8:
        for key, item in dict(value).items():
            if key and "." not in key:
                yield from paths_of(item, (*steps, key))


def at(value, steps):
    for step in steps:
        value = dict(value)[step]
    return value


@given(documents())
@example(b'{"a":{"b":1},"a":{"c":2}}')
@example('{"이름":"홍길동","\\u0061":9007199254740993}'.encode())
def test_fields_are_where_python_finds_them(data):
    value = parse(data)
    assert _core.json_check(data) is None
    wanted = list(dict.fromkeys(paths_of(value)))[:60]
    found = _core.json_fields(data, [".".join(steps) for steps in wanted])
    for steps, raw in zip(wanted, found, strict=True):
        assert raw is not None
        assert raw in data
        assert raw == raw.strip()
        assert parse(raw) == at(value, steps)


@given(documents(), st.lists(st.sampled_from(["a", "b", "user", "이름"]), min_size=1, max_size=3))
def test_a_path_that_python_does_not_find_is_none(data, steps):
    value = parse(data)
    expected = tuple(steps) in set(paths_of(value))
    assert (_core.json_fields(data, [".".join(steps)])[0] is not None) == expected


# ---- what is accepted ----

tokens = st.sampled_from(
    b'{ } [ ] , : " \\ \\u \\ud800 \\udc00 0 - . e + 1 00 1e400 true nul NaN Infinity -Infinity '
    b"' /*x*/ \x00 \x1f \x7f \x80 \xbf \xff \n \x0b \x0c \xc2\xa0 \xe2\x80\xa8 \xef\xbc\x91 "
    b"\xc0\x80 \xed\xa0\x80 \xed\x99\x8d \xf4\x90\x80\x80 \xf0\x9f\x98\x80 \xef\xbb\xbf".split(b" ")
)


@st.composite
def broken_documents(draw):
    """A document with a few cuts, repeats and foreign bytes in it."""
    data = draw(documents())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 6)))
        piece = draw(st.one_of(st.just(b""), tokens, st.binary(max_size=3), st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


@settings(max_examples=1000)
@given(st.one_of(broken_documents(), st.lists(tokens, max_size=12).map(b"".join), st.binary(max_size=40)))
@example(b"")
@example(b" ")
@example(b"NaN")
@example(b'"\\ud800"')
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 512 + b"]" * 512)
@example(b"[" * 513 + b"]" * 513)
@example(b"1" * 5000)
@example(b"1e400")
def test_accepts_what_python_accepts(data):
    problem = _core.json_check(data)
    assert (problem is None) == is_valid(data), problem


def vectors():
    found = []
    pattern = r'\{(true|false), "([^"]+)", BYTES\("((?:[^"\\]|\\.)*)"\)\}'
    for valid, name, text in re.findall(pattern, VECTORS.read_text()):
        data = text.encode().decode("unicode_escape").encode("latin-1")
        found.append(pytest.param(data, valid == "true", id=name))
    return found


@pytest.mark.parametrize(("data", "valid"), vectors())
def test_conformance_suite_says_the_same_of_scanner_and_oracle(data, valid):
    assert (_core.json_check(data) is None) == valid
    assert is_valid(data) == valid


def test_the_whole_suite_was_read():
    assert len(vectors()) == 315


# ---- the binding ----


def test_invalid_json_is_rejected_with_place_and_reason():
    with pytest.raises(RejectedError, match="invalid JSON at byte 8: ':' is expected behind a key") as caught:
        _core.json_fields('{"홍"  1}'.encode(), ["홍"])
    assert (caught.value.op, caught.value.code) == ("json fields", "INVALID_JSON")


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a..b"], "empty step"),
        ([""], "empty step"),
        (["a.b.c.d.e.f.g.h.i"], "more than 8 steps"),
        (["a"] * 65, "64 paths"),
    ],
)
def test_paths_that_are_none(paths, message):
    with pytest.raises(ValueError, match=message):
        _core.json_fields(b"{}", paths)


@pytest.mark.parametrize("paths", [5, [b"a"], [None]])
def test_paths_of_another_type(paths):
    with pytest.raises(TypeError):
        _core.json_fields(b"{}", paths)


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(make):
    assert _core.json_check(make(b'{"a":1}')) is None
    assert _core.json_fields(make(b'{"a":1}'), ("a",)) == [b"1"]
