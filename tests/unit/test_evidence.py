"""The demo's proof notices what is missing, doubled, changed or foreign."""

import pytest

from kafkapipe._evidence import Lines, differences, index_differences
from kafkapipe.demo import Report, _event, _miscounted, bodies, posted_events, selections

RECORDS = {(0, 0): '{"a":"홍길동"}'.encode(), (0, 1): b'{"a":9007199254740993}', (2, 7): b'{"a":"\\n"}'}


def test_nothing_differs():
    assert list(differences(RECORDS, dict(RECORDS))) == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({(0, 0): RECORDS[0, 0], (0, 1): RECORDS[0, 1]}, "record (2, 7) is in no file"),
        ({**RECORDS, (1, 0): b"{}"}, "record (1, 0) is in a file, but not in the topic"),
        (
            {**RECORDS, (0, 1): b'{"a":9007199254740992}'},
            "record (0, 1) is not the same in the file: "
            "b'{\"a\":9007199254740992}', in the topic b'{\"a\":9007199254740993}'",
        ),
    ],
)
def test_a_difference_of_files(lines, expected):
    assert list(differences(RECORDS, lines)) == [expected]


DOCUMENTS = {"t+0+0": {"a": "홍길동"}, "t+0+1": {"a": 2**53 + 1}, "t+2+7": {"a": "\n"}}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (DOCUMENTS, []),
        ({k: v for k, v in DOCUMENTS.items() if k != "t+2+7"}, ["document t+2+7 is not in the index"]),
        ({**DOCUMENTS, "x": {}}, ["document x is in the index, but not in the topic"]),
        (
            {**DOCUMENTS, "t+0+1": {"a": 2**53}},
            ["document t+0+1 differs from its record: {'a': 9007199254740992}"],
        ),
    ],
)
def test_a_difference_of_documents(documents, expected):
    assert list(index_differences("t", RECORDS, documents)) == expected


def test_lines_have_the_coordinates_that_the_files_name_tells():
    lines = Lines()
    assert lines.is_new("/data/color-2-40.log")
    lines.add("/data/color-2-40.log", "가\n나\n".encode())
    assert lines.found == {(2, 40): "가".encode(), (2, 41): "나".encode()}
    assert not lines.is_new("/data/color-2-40.log")
    assert not lines.is_new("/data/_tmp/color-2-40.log.123")
    assert lines.problems == []


def test_a_record_in_two_files_is_a_problem():
    lines = Lines()
    lines.add("/data/color-0-0.log", b"a\nb\n")
    lines.add("/data/color-0-1.log", b"b\n")
    assert lines.problems == ["record (0, 1) is twice in files, the second time in /data/color-0-1.log"]


def test_a_file_that_was_cut_off_is_a_problem():
    lines = Lines()
    lines.add("/data/color-0-0.log", b"a\nb")
    assert lines.problems == ["/data/color-0-0.log does not end with a newline"]


def test_the_events_are_at_least_60_and_all_different():
    posted = posted_events()
    events = [_event(event) for event in posted] + [(each["color"], each["user"]) for each in selections()]
    assert len(events) >= 60
    assert len(set(events)) == len(events)
    names = "".join(name for _, name in events)
    assert all(part in names for part in ("홍길동", '"', "\n", "\\"))
    assert all(body.count(b"2026-01-01") for body in bodies())
    assert sum(body.count(b"2026-01-01") for body in bodies()) == len(posted)


def test_an_event_that_is_missing_or_doubled_is_told():
    posted = dict(enumerate(posted_events()))
    records = {(0, offset): value for offset, value in posted.items()}
    sent = {_event(value): 1 for value in posted.values()}
    assert list(_miscounted(sent, records)) == []
    twice = {**records, (1, 0): posted[0]}
    assert list(_miscounted(sent, twice)) == [f"{_event(posted[0])} was sent 1 times and arrived 2 times"]
    del records[0, 0]
    assert len(list(_miscounted(sent, records))) == 2


def test_a_report_is_complete_only_with_all_lines():
    assert Report(events=3, lines=3).complete
    assert not Report(events=0, lines=0).complete
    assert not Report(events=3, lines=2).complete
    assert not Report(events=3, lines=3, problems=["x"]).complete
