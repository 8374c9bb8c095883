"""The plan of `topics apply`: from a declared file and what is there to the steps between."""

import pytest

from kafkapipe import ConfigError, PartitionInfo, RejectedError, TopicDescription, plan
from kafkapipe.plan import Change

NOTHING = plan.Plan((), ())


def declared(tmp_path, text):
    file = tmp_path / "토픽.yaml"
    file.write_text(text, encoding="utf-8")
    return plan.load(file)


def topic(name, partitions=1, copies=1, **own):
    """A topic as the cluster describes it; ``a_b`` is the setting ``a.b``."""
    held = tuple(range(1, copies + 1))
    overrides = {key.replace("_", "."): value for key, value in own.items()}
    found = tuple(PartitionInfo(number, 1, held, held) for number in range(partitions))
    return {name: TopicDescription(name, found, config=overrides, overrides=overrides)}


def test_what_is_missing_is_created_with_everything_declared(tmp_path):
    wanted = declared(tmp_path, "topics:\n  a: {partitions: 3, config: {retention.ms: 86400000}}\n  b:\n")
    config = {"retention.ms": "86400000"}
    assert plan.make(wanted, {}).changes == (
        Change("create", "a", 3, None, config),
        Change("create", "b", 1, None),
    )


def test_partitions_are_added_and_only_settings_that_differ_change(tmp_path):
    wanted = declared(
        tmp_path,
        "topics: {a: {partitions: 6, config: {retention.ms: 1, max.message.bytes: 9007199254740993}}}",
    )
    found = topic("a", 3, retention_ms="1", max_message_bytes="9007199254740992", segment_ms="5")
    assert plan.make(wanted, found).changes == (
        Change("add partitions", "a", 6),
        Change(
            "change settings",
            "a",
            config={"max.message.bytes": "9007199254740993"},
            before={"max.message.bytes": "9007199254740992"},
        ),
    )


def test_null_puts_a_setting_back_once(tmp_path):
    wanted = declared(tmp_path, "topics: {a: {config: {retention.ms: null}}}")
    [change] = plan.make(wanted, topic("a", retention_ms="5")).changes
    assert (change.config, change.before) == ({"retention.ms": None}, {"retention.ms": "5"})
    assert plan.make(wanted, topic("a")) == NOTHING


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('"compact, delete"', "compact,delete"),
        ("true", "true"),
        ('"TRUE"', "true"),
        ("0.50", "0.5"),
        ("86400000", "86400000"),
        ('"9007199254740993"', "9007199254740993"),
    ],
)
def test_kafkas_own_way_of_writing_a_value_is_no_change(tmp_path, written, told):
    wanted = declared(tmp_path, f"topics: {{a: {{config: {{x.y: {written}}}}}}}")
    assert plan.make(wanted, topic("a", x_y=told)) == NOTHING
    assert plan.make(wanted, topic("a", x_y=told + "1")).changes


def test_what_is_not_declared_is_left_alone(tmp_path):
    wanted = declared(tmp_path, "topics: {a: {}}")
    assert plan.make(wanted, topic("a", 7, 3, retention_ms="5") | topic("b")) == NOTHING


def test_deletion_needs_both_the_file_and_the_caller(tmp_path):
    wanted = declared(tmp_path, "topics: {a: {state: absent}, gone: {state: absent}}")
    found = topic("a") | topic("unmanaged")
    assert plan.make(wanted, found) == plan.Plan((), ("a",))
    assert plan.make(wanted, found, delete=True) == plan.Plan((Change("delete", "a"),), ())


def test_what_kafka_cannot_do_is_told_all_at_once(tmp_path):
    wanted = declared(tmp_path, "topics: {a: {partitions: 2}, b: {replication_factor: 3}, c: {}}")
    with pytest.raises(RejectedError) as caught:
        plan.make(wanted, topic("a", 3) | topic("b"))
    first, second = caught.value.message.splitlines()
    assert first.startswith("topic a: has 3 partitions and 2 are declared: ")
    assert second.startswith("topic b: has replication factor 1 and 3 is declared: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "topics: {a: {partitons: 3}}",
            '토픽.yaml:1: topics.a.partitons: unknown option; did you mean "parti',
        ),
        ("topics: {a: {partitions: 0}}", "topics.a.partitions: must be at least 1, not 0"),
        ("topics: {a: {state: gone}}", "topics.a.state: must be 'present' or 'absent', not 'gone'"),
        ("topics: {'색\"\\n': {}}", "has '색'"),
        ("topics: {a: {config: {x: [1]}}}", "topics.a.config.x: must be text"),
        ("topic: {}", 'topic: unknown option; did you mean "topics"?'),
        ("- a", "must be a mapping with the key topics"),
        ("topics:\n  a:\n  a:\n", "토픽.yaml:3: topics.a: stands twice"),
    ],
)
def test_a_wrong_file_is_told_by_line(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        declared(tmp_path, text)
    assert words in caught.value.message
