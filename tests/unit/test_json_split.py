"""split_events: which bytes of a body are its events, and what is said of those that are none."""

import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkapipe import _core

names = st.one_of(
    st.sampled_from(["홍길동", 'quote " and\nnewline', "},{", "]\n["]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
events = st.lists(
    st.dictionaries(
        names, st.one_of(names, st.integers(-(2**70), 2**70), st.lists(names, max_size=3)), max_size=4
    ),
    max_size=8,
)


def pieces(body, limit=1000):
    spans, problems = _core.split_events(body, limit)
    return [bytes(body[start:end]) for start, end in spans], problems


def written(event):
    return json.dumps(event, ensure_ascii=False).encode()


@given(events, st.sampled_from([b",", b" , ", b",\r\n"]))
def test_array_gives_each_element_exactly(sent, comma):
    texts = [written(event) for event in sent]
    assert pieces(b" [ " + comma.join(texts) + b"]\n") == (texts, [])


@given(events, st.sampled_from([b"\n", b"\r\n", b"\n\n \t\n"]), st.booleans())
def test_ndjson_gives_each_line_exactly(sent, newline, ended):
    texts = [written(event) for event in sent] or [b"{}"]
    assert pieces(newline.join(texts) + (newline if ended else b"")) == (texts, [])


@given(events.filter(bool), st.sampled_from([None, 1, "\t"]))
def test_one_object_may_be_laid_out_over_lines(sent, indent):
    text = json.dumps(sent[0], ensure_ascii=False, indent=indent).encode()
    assert pieces(b"\r\n" + text + b"\n") == ([text], [])


@given(events, st.data())
def test_one_bad_line_is_one_problem(sent, data):
    texts = [b"{}", *(written(event) for event in sent)]
    at = data.draw(st.integers(1, len(texts)))
    bad = data.draw(st.sampled_from([b'{"a":}', b"7", b"[{}]", b'{"a":1', b"\xff", b"{} {}", b"{'a':1}"]))
    good, problems = pieces(b"\n".join([*texts[:at], bad, *texts[at:]]))
    assert good == texts
    assert [index for index, _ in problems] == [at]
    assert problems[0][1]


def test_messages():
    body = '{"user":"홍길동"}\n{"user":}\n42\n'.encode()
    assert pieces(body) == (
        ['{"user":"홍길동"}'.encode()],
        [
            (1, "invalid JSON at byte 8: a value is expected"),
            (2, "an event must be a JSON object, not a number"),
        ],
    )


def test_a_broken_array_ends_with_one_problem():
    assert pieces(b'[{"a":1}, {"b":2}, {"c":]}, {"d":4}]') == (
        [b'{"a":1}', b'{"b":2}'],
        [(2, "invalid JSON at byte 24: a value is expected")],
    )


@pytest.mark.parametrize("body", [b"", b" \r\n\t"])
def test_empty_body(body):
    assert pieces(body) == (
        [],
        [(0, "the body is empty: a JSON object, an array of objects or NDJSON is expected")],
    )


@pytest.mark.parametrize("body", [b"[{},{},{}]", b"{}\n{}\n{}"])
def test_too_many_events_are_one_problem(body):
    assert pieces(body, 3) == ([b"{}"] * 3, [])
    assert pieces(body, 2) == ([b"{}"] * 2, [(2, "more than 2 events in one body")])


def test_arguments():
    with pytest.raises(TypeError):
        _core.split_events("{}", 1)
    with pytest.raises(ValueError, match="negative"):
        _core.split_events(b"{}", -1)
    with pytest.raises(BufferError):
        _core.split_events(memoryview(b"{ } ")[::2], 1)


def test_every_allocation_can_fail():
    body = b"\n".join([b'{"a":1}', b"x"] * 100)
    held = _core.memory_live()
    expected = _core.split_events(body, 1000)
    failures = 0
    for n in range(1, 100):
        _core.memory_fail_at(n)
        try:
            result = _core.split_events(body, 1000)
        except MemoryError:
            failures += 1
        else:
            assert result == expected
            break
        finally:
            _core.memory_fail_at(0)
        assert _core.memory_live() == held
    assert 3 <= failures < 99


def test_a_long_body_is_split_without_the_gil():
    body = b"[" + b",".join([b'{"user":"' + b"x" * 1000 + b'"}'] * 200_000) + b"]"
    ticks: list[float] = []
    times: list[float] = []

    def work():
        times.append(time.perf_counter())
        assert _core.json_check(body) is None
        times.append(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        ticks.append(time.perf_counter())
    thread.join()
    start, end = times
    margin = (end - start) / 4
    assert any(start + margin < tick < end - margin for tick in ticks)
