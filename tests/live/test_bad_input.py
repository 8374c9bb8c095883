"""What only a broker can refuse: each call says what, where and what to do, well within its deadline."""

import asyncio
import time

import pytest

import kafkapipe as kp
from kafkapipe import _core
from kafkapipe.stack.sasl import PLAIN, SCRAM

VERSION = tuple(int(part) for part in _core.versions()["librdkafka"].split(".")[:3])
MECHANISM = SCRAM if VERSION >= (2, 6, 1) else PLAIN  # older ones cannot log in to Kafka 4 with SCRAM

pytestmark = pytest.mark.live


@pytest.fixture
async def topic(stack):
    """One partition, made once."""
    async with kp.Admin(stack.bootstrap) as admin:
        if "bad-exists" not in [each.name for each in await admin.list_topics()]:
            await admin.create_topic("bad-exists")
    return "bad-exists"


async def refusal(coroutine, kind, seconds=8):
    start = time.monotonic()
    with pytest.raises(kind) as caught:
        await coroutine
    assert time.monotonic() - start < seconds
    assert type(caught.value) is kind
    return caught.value


async def test_partitions_and_topics_that_are_not_there(stack, topic):
    async with kp.Consumer(stack.bootstrap, group="bad") as consumer:
        for where, start, words in (
            ((topic, 7), None, "the topic has no partition of this number"),
            ((topic, 7), 5, "the topic has no partition of this number"),
            (("bad-missing", 0), None, "check its name, or create it first"),
            (("bad-missing", 0), "latest", "check its name, or create it first"),
        ):
            error = await refusal(consumer.assign([where], start=start), kp.RejectedError)
            assert f"{where[0]} [{where[1]}]" in error.message
            assert words in error.message
        error = await refusal(consumer.watermarks([("bad-missing", 0)]), kp.RejectedError)
        assert "check its name, or create it first" in error.message
        await consumer.assign([(topic, 0)])  # and goes on
        assert await consumer.position() == {(topic, 0): 0}


@pytest.mark.parametrize("name", ["bad-missing", "색"])
async def test_a_subscription_to_a_topic_that_is_not_there(stack, name):
    async with kp.Consumer(stack.bootstrap, group="bad", topics=[name]) as consumer:
        error = await refusal(anext(consumer), kp.RejectedError)
    assert name in error.message
    assert "check its name, or create it first" in error.message


async def test_a_setting_may_be_a_number_or_a_bool(stack):
    async with kp.Admin(stack.bootstrap) as admin:
        config = {"retention.ms": 86_400_000, "preallocate": False}
        await admin.create_topic("bad-settings", config=config)
        await admin.alter_config("bad-settings", {"preallocate": True})
        found = await admin.describe_topic("bad-settings")
        await admin.delete_topic("bad-settings")
    assert found.overrides == {"retention.ms": "86400000", "preallocate": "true"}


def told(error, stack):
    assert error.code == "_AUTHENTICATION"
    assert stack.sasl_bootstrap in error.message
    assert "check sasl.mechanism, sasl.username and sasl.password" in error.message


async def test_a_wrong_password_is_told_by_every_client(stack, topic):
    wrong = {**stack.sasl_config("alice", MECHANISM), "sasl.password": "틀린 비밀"}
    async with kp.Consumer(config=wrong, group="bad", topics=[topic]) as consumer:
        told(await refusal(anext(consumer), kp.FatalError), stack)
    async with kp.Consumer(config=wrong) as consumer:
        told(await refusal(consumer.assign([(topic, 0)], timeout=3), kp.FatalError), stack)
    reading = asyncio.to_thread(kp.read, topic, config=wrong, timeout=5)
    error = await refusal(reading, kp.FatalError)
    told(error, stack)
    assert "틀린" not in error.message
