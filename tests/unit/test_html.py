"""What objects look like in a notebook: tables, escaped, bounded, with any text."""

import re
from dataclasses import replace
from html import unescape

import pytest

from kafkapipe import (
    Acl,
    BrokerInfo,
    ClusterDescription,
    Consumer,
    GroupDescription,
    GroupInfo,
    GroupOffset,
    MemberInfo,
    MockCluster,
    OffsetReset,
    PartitionInfo,
    Producer,
    TopicDescription,
    TopicInfo,
    _html,
    plan,
)
from kafkapipe.pipeline import Pipeline, Snapshot

EVIL = '<script>alert("홍길동\n\'&amp;")</script>'

TOPIC = TopicDescription(
    "색-colors",
    tuple(PartitionInfo(n, 1, (1,), (1,)) for n in range(3)),
    config={"password": "geheim"},
    overrides={"retention.ms": "5"},
)
GROUP = GroupDescription(
    EVIL,
    "Stable",
    "range",
    1,
    (MemberInfo("id-1", None, "고객", "/127.0.0.1", (("t", 0), ("t", 1))),),
    (GroupOffset("t", 0, 9007199254740993, 9007199254741000, "id-1"), GroupOffset("t", 1, None, 5, None)),
)


def cells(html):
    """The rows of a table as text, the head first; fails when anything is not escaped."""
    assert not re.search(r"<(?!/?(table|caption|thead|tbody|tr|th|td)>)", html), html
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[unescape(each) for each in re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def caption(html):
    return unescape(re.search("<caption>(.*)</caption>", html, re.DOTALL)[1])


def test_a_topic_is_its_partitions_and_what_is_special_about_it():
    html = TOPIC._repr_html_()
    assert caption(html) == "색-colors: 3 partitions, replication factor 1, retention.ms = 5"
    assert cells(html)[:2] == [["partition", "leader", "replicas", "in_sync"], ["0", "1", "1", "1"]]
    assert "geheim" not in html


def test_a_group_is_its_offsets_with_lag_and_members():
    html = GROUP._repr_html_()
    assert caption(html) == f"{EVIL}: Stable, 1 member, lag 7"
    assert cells(html)[1:] == [
        ["t", "0", "9007199254740993", "9007199254741000", "7", "고객"],
        ["t", "1", "", "5", "", ""],
    ]


def test_single_objects_are_name_and_value():
    assert cells(GROUP.members[0]._repr_html_())[-1] == ["partitions", "t [0], t [1]"]
    assert ["host", "x"] in cells(BrokerInfo(1, "x", 9092)._repr_html_())
    assert ["principal", "User:홍길동"] in cells(Acl("topic", "t", "User:홍길동", "read")._repr_html_())
    assert ["state", EVIL] in cells(GroupInfo("g", EVIL)._repr_html_())


def test_a_cluster_is_its_brokers():
    html = ClusterDescription("abc", 1, (BrokerInfo(1, "127.0.0.1", 9092),))._repr_html_()
    assert caption(html) == "Cluster abc, controller 1"
    assert cells(html) == [["id", "host", "port"], ["1", "127.0.0.1", "9092"]]


def test_lists_are_lists_and_tables_of_a_bounded_length():
    topics = _html.Rows(TopicInfo(f"색-{n}", 1, 1) for n in range(1000))
    assert topics == [TopicInfo(f"색-{n}", 1, 1) for n in range(1000)]
    html = topics._repr_html_()
    assert len(cells(html)) == 1 + _html.ROWS
    assert caption(html) == "the first 20 of 1,000"
    assert cells(_html.Rows()._repr_html_()) == [[]]
    assert cells(_html.Rows([OffsetReset("t", 0, None, 5)])._repr_html_())[1] == ["t", "0", "", "5"]


def test_a_plan_is_its_steps():
    wanted = plan.loads(
        'topics: {colors: {partitions: 4}, old: {state: absent}, new: {config: {"a.b": true}}}'
    )
    made = plan.make(wanted, {"colors": TOPIC, "old": replace(TOPIC, name="old")})
    assert cells(made._repr_html_())[1:] == [
        ["add partitions", "colors", "4 partitions"],
        ["create", "new", "1 partition, the cluster's replication factor, a.b = true"],
        ["keep", "old", "declared absent, but not to be deleted"],
    ]
    assert caption(plan.Plan((), ())._repr_html_()) == "nothing to change"


def test_a_snapshot_is_a_dict_and_a_table():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAFKAPIPE_BOOTSTRAP", "127.0.0.1:1")
        seen = Pipeline(topics=["t"], sink={"type": "null"}, name="색").snapshot()
    assert isinstance(seen, dict)
    assert isinstance(seen, Snapshot)
    html = seen._repr_html_()
    assert caption(html) == "색"
    assert {"state", "records_out", "lag", "workers"} <= {row[0] for row in cells(html)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (b"\xff<", "\ufffd<"),
        ("빨" * 101, "빨" * 100 + "…"),
        ([("이름", b"\xff"), ("none", None), ("이름", b"2")], "이름=\ufffd, none=, 이름=2"),
        ([("\udcff", b"x")], "?=x"),
        ("가" * 10**7, "가" * 100 + "…"),
        (b"\xea\xb0\x80" * 10**7, "가" * 100 + "…"),
        (9007199254740993, "9007199254740993"),
        (_html.moment(1_700_000_000_001), "2023-11-14 22:13:20.001+00:00"),
        (_html.moment(10**18), "1000000000000000000"),
    ],
)
def test_a_cell_is_short_text(value, text):
    assert _html.cell(value) == text


async def test_what_clients_hand_out():
    with MockCluster() as cluster:
        cluster.create_topic("t", 1)
        async with Producer(cluster.bootstrap, message_max_bytes=1000) as producer:
            one = await producer.send(
                "t", EVIL, key="홍길동", headers=[("a", EVIL), ("a", None)], timestamp=5
            )
            some = await producer.send_many("t", [str(n) for n in range(30)])
            bad = await producer.send_many("t", ["x", "y" * 2000])
        async with Consumer(cluster.bootstrap) as consumer:
            await consumer.assign([("t", 0)], start="earliest")
            records = []
            while len(records) < 31:
                batch = await anext(consumer)
                records += batch
    assert cells(one._repr_html_())[1:4] == [["topic", "t"], ["partition", "0"], ["offset", "0"]]
    assert re.fullmatch(r"1970-.*\+00:00", cells(one._repr_html_())[4][1])  # the mock broker's own time
    assert caption(some._repr_html_()) == "30 delivered, 0 failed"
    assert cells(some._repr_html_()) == [["partition", "messages"], ["0", "30"]]
    assert cells(bad._repr_html_())[1][:3] == ["1", "RejectedError", "MSG_SIZE_TOO_LARGE"]
    assert ["value", EVIL] in cells(records[0]._repr_html_())
    assert ["headers", f"a={EVIL}, a="] in cells(records[0]._repr_html_())
    shown = cells(batch._repr_html_())
    assert len(shown) == 1 + min(len(batch), _html.ROWS)
    assert shown[0] == ["topic", "partition", "offset", "timestamp", "key", "value", "headers"]
