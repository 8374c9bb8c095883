"""Kafka's rules for the names of topics, and the words for each that is broken."""

import pytest

from kafkapipe import RejectedError, validate_topic_name


@pytest.mark.parametrize("name", ["a", "select-color", "A.b_C-9", "_hidden", "__mine", "x" * 249, "..."])
def test_good_names_pass(name):
    assert validate_topic_name(name) == name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "is empty"),
        ("x" * 250, "has 250 characters"),
        (".", 'cannot be named "." or ".."'),
        ("..", 'cannot be named "." or ".."'),
        ("a/b", "has '/'"),
        ("색", "has '색'"),
        ("a b", "has ' '"),
        ("a\nb", r"has '\n'"),
        ("a\0", r"has '\x00'"),
        ("__consumer_offsets", "Kafka's own"),
        ("__transaction_state", "Kafka's own"),
        ("__share_group_state", "Kafka's own"),
    ],
)
def test_broken_rule_is_named(name, rule):
    with pytest.raises(RejectedError) as caught:
        validate_topic_name(name)
    assert rule in caught.value.message
    assert caught.value.code == "INVALID_TOPIC"
    assert "\n" not in caught.value.message
