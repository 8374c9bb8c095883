"""Event templates: which bytes a request becomes, and which requests become none."""

import contextlib
import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kafkapipe._event_values import parse, pieces
from kafkapipe.web.answers import Refusal
from kafkapipe.web.event_template import Clock, EventTemplate, Source, TextTemplate, unescape
from kafkapipe.web.request import Request

COLOUR = {
    "timestamp": "$now",
    "userAgent": "$header.user-agent",
    "colorName": "$query.color",
    "userName": "$query.user",
}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
AGENT = {b"user-agent": b"Mozilla/5.0"}


def render(fields, query, headers=AGENT, max_field=4096):
    source = Source(max_field=max_field)
    template = EventTemplate(fields, source)
    return template.render(source.read(Request("GET", b"/", query, headers, "192.0.2.7", b"/")))


def refused(fields, query, headers=AGENT):
    with pytest.raises(Refusal) as caught:
        render(fields, query, headers, max_field=20)
    return caught.value


def test_colour_event_is_compact_utf8_in_field_order():
    event = render(COLOUR, "color=red&user=홍길동".encode())
    pattern = (
        r'\{"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}","userAgent":"Mozilla/5\.0",'
        r'"colorName":"red","userName":"홍길동"\}'
    )
    assert re.fullmatch(pattern, event.decode())


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
@example("홍길동")
@example('그는 "안녕"\n하고 말했다\\')
@example("</script>&'+%41")
@example("\0\x1f\x7f\u2028🎨")
def test_any_name_arrives_as_it_was_typed(name):
    for encoded in (quote(name, safe=""), quote_plus(name)):
        event = render({"userName": "$query.user"}, f"a=b&user={encoded}".encode())
        assert json.loads(event) == {"userName": name}
        # no \\u escapes but those that JSON demands, no HTML escapes, no spaces
        assert event == json.dumps({"userName": name}, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "query", [b"us%65r=x", b"&&user=x&", b"other=%zz&user=x", b"user=x&%zz=1", b"other=\xff&user=x"]
)
def test_only_the_named_parameters_matter(query):
    assert render({"u": "$query.user"}, query) == b'{"u":"x"}'


def test_plain_text_and_dollar_signs():
    fields = {"kind": "클릭", 'a"b': "$$now", "price": "5$"}
    assert render(fields, b"") == '{"kind":"클릭","a\\"b":"$now","price":"5$"}'.encode()


def test_a_parameter_may_fill_several_fields():
    assert render({"a": "$query.x", "b": "$query.x"}, b"x=1") == b'{"a":"1","b":"1"}'


@pytest.mark.parametrize(
    ("query", "headers", "named"),
    [
        (b"color=red", AGENT, ["query parameter 'user'"]),
        (b"color=red&user=", AGENT, ["query parameter 'user'"]),
        (b"", {}, ["query parameter 'color'", "query parameter 'user'", "header 'user-agent'"]),
        (b"color=red&user=x", {b"user-agent": b""}, ["header 'user-agent'"]),
    ],
)
def test_missing_values_are_all_named(query, headers, named):
    refusal = refused(COLOUR, query, headers)
    assert (refusal.status, refusal.error) == (400, "missing value")
    assert refusal.detail == f"missing or empty: {', '.join(named)}"


@pytest.mark.parametrize(
    ("query", "headers", "status", "detail"),
    [
        (b"user=%zz", AGENT, 400, "query parameter 'user' is not percent-encoded well"),
        (b"user=100%", AGENT, 400, "query parameter 'user' is not percent-encoded well"),
        (b"user=%e", AGENT, 400, "query parameter 'user' is not percent-encoded well"),
        (b"user=%ff", AGENT, 400, "query parameter 'user' is not UTF-8"),
        ("user=홍길동".encode("euc-kr"), AGENT, 400, "query parameter 'user' is not UTF-8"),
        (b"user=%ed%a0%80", AGENT, 400, "query parameter 'user' is not UTF-8"),
        (b"user=a&user=b", AGENT, 400, "query parameter 'user' is given twice"),
        (b"user=" + b"x" * 21, AGENT, 400, "query parameter 'user' has 21 bytes; at most 20 are taken"),
        (
            b"user=x",
            {b"user-agent": b"x" * 21},
            431,
            "header 'user-agent' has 21 bytes; at most 20 are taken",
        ),
        (b"user=x", {b"user-agent": b"\xc8\xab"[:1]}, 400, "header 'user-agent' is not UTF-8"),
    ],
)
def test_bad_values_are_named(query, headers, status, detail):
    refusal = refused({"u": "$query.user", "a": "$header.User-Agent"}, query, headers)
    assert (refusal.status, refusal.detail) == (status, detail)


@pytest.mark.parametrize("value", ["$Now", "$query", "$query.", "$cookie.x", "$", "$body.a..b", "$now.x"])
def test_an_unknown_value_is_refused(value):
    with pytest.raises(ValueError, match=re.escape(value)):
        EventTemplate({"x": value}, Source(max_field=1))


@pytest.mark.parametrize(
    ("zone", "moment", "text"),
    [
        ("KST-9", 1767229200.0, "2026-01-01T10:00:00.000+0900"),
        ("UTC0", 1767229200.9996, "2026-01-01T01:00:00.999+0000"),
        ("NST3:30", 1767229200.5, "2025-12-31T21:30:00.500-0330"),
    ],
)
def test_clock_is_local_time_with_milliseconds_and_offset(monkeypatch, zone, moment, text):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        monkeypatch.setattr(time, "time", lambda: moment)
        assert Clock()() == text
    finally:
        monkeypatch.undo()
        time.tzset()


def test_clock_follows_the_second(monkeypatch):
    clock = Clock()
    moments = iter([1767229200.25, 1767229200.75, 1767229201.0])
    monkeypatch.setattr(time, "time", lambda: next(moments))
    assert [clock()[17:23] for _ in range(3)] == ["00.250", "00.750", "01.000"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(JSON_VALUES, st.sampled_from([None, (",", ":"), (" , ", "\t:\n")]), st.booleans())
def test_what_is_taken_from_a_body_keeps_its_bytes(value, separators, is_ascii):
    made = json.dumps(value, separators=separators, ensure_ascii=is_ascii)
    body = f' {{"b":{{"c":{made}}},"이름":"홍길동","n":9007199254740993}} '.strip().encode()
    source = Source(max_field=100)
    template = EventTemplate({"whole": "$body", "part": "$body.b.c", "n": "$body.n"}, source)
    values = source.read_event(source.read(Request("POST", b"/", b"", {}, "", b"/")), body)
    assert template.render(values) == b'{"whole":%s,"part":%s,"n":9007199254740993}' % (body, made.encode())


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_key_is_put_together_from_text_and_values(before, name):
    source = Source(max_field=10_000)
    key = TextTemplate(before.replace("$", "$$") + "$body.name?", source)
    body = json.dumps({"name": name}).encode()
    values = source.read_event(source.read(Request("POST", b"/", b"", {}, "", b"/")), body)
    assert (key.render(values) or b"") == (before + name).encode()


@given(st.text())
def test_any_text_is_a_template_or_refused(text):
    for read in (parse, pieces):
        with contextlib.suppress(ValueError):
            assert read(text) is not None


@given(st.binary(max_size=50))
def test_unescape_undoes_quote(value):
    assert unescape(quote_plus(value).encode()) == value
