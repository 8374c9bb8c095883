"""Where a reset puts a group, and what is refused before any broker is asked."""

from datetime import UTC, datetime

import pytest

from kafkapipe import Admin, ConfigError, RejectedError
from kafkapipe.acls import Acl
from kafkapipe.groups import GroupOffset, targets

A, B = ("t", 0), ("t", 1)
ENDS = {"earliest": {A: 10, B: 0}, "latest": {A: 9007199254740993, B: 0}}
THEN = datetime(2026, 1, 1, tzinfo=UTC)


def target(to=None, shift=None, committed=None, times=None):
    return targets("g", to=to, shift=shift, committed=committed or {}, times=times or {}, **ENDS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"to": "earliest"}, {A: 10, B: 0}),
        ({"to": "latest"}, {A: 9007199254740993, B: 0}),
        ({"to": 500}, {A: 500, B: 0}),
        ({"to": 3}, {A: 10, B: 0}),
        ({"to": THEN, "times": {A: 77, B: -1}}, {A: 77, B: 0}),
        ({"to": THEN, "times": {A: -1, B: -1}}, {A: 9007199254740993, B: 0}),
        ({"shift": -5, "committed": {A: 17, B: 0}}, {A: 12, B: 0}),
        ({"shift": -50, "committed": {A: 17, B: 0}}, {A: 10, B: 0}),
        ({"shift": 50, "committed": {A: 9007199254740990, B: 0}}, {A: 9007199254740993, B: 0}),
    ],
)
def test_a_target_lies_between_the_ends(options, expected):
    assert target(**options) == expected


def test_a_shift_needs_an_offset_to_start_from():
    with pytest.raises(RejectedError, match=r"group g: it has no offset for t \[1\] to shift"):
        target(shift=1, committed={A: 17})


@pytest.mark.parametrize(
    ("committed", "end", "lag"), [(3, 10, 7), (10, 10, 0), (12, 10, 0), (None, 10, None), (3, None, None)]
)
def test_lag(committed, end, lag):
    assert GroupOffset("t", 0, committed, end, None).lag == lag


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give either `to` or `shift`"),
        ({"to": 1, "shift": 1}, "give either `to` or `shift`"),
        ({"to": "newest"}, "to='newest' is unknown: give \"earliest\""),
    ],
)
async def test_a_wrong_target_is_refused_at_once(arguments, words):
    async with Admin("127.0.0.1:1") as admin:
        with pytest.raises(ConfigError, match=words):
            await admin.reset_offsets("g", **arguments)


async def test_deleting_every_access_rule_by_accident_is_refused_at_once():
    async with Admin("127.0.0.1:1") as admin:
        with pytest.raises(RejectedError, match="no filter would delete every rule"):
            await admin.delete_acls(operation="read")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"operation": "raed"}, 'knows no operation "RAED"'),
        ({"resource": "tpic"}, 'knows no resource "TPIC"'),
        ({"permission": "any"}, "Invalid permission type"),
        ({"pattern": "match"}, "Invalid resource pattern type"),
    ],
)
async def test_a_word_that_is_none_is_refused_at_once(change, words):
    acl = Acl(**{"resource": "topic", "name": "t", "principal": "User:홍", "operation": "read"} | change)
    async with Admin("127.0.0.1:1") as admin:
        with pytest.raises(RejectedError, match=words):
            await admin.create_acl(acl)
