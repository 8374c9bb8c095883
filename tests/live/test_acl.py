"""Users and access rules on a broker with an authorizer, over SASL_SSL."""

import asyncio

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient

from kafkapipe import Admin, FatalError, Producer, RejectedError, _core
from kafkapipe.acls import Acl
from kafkapipe.stack.sasl import PLAIN, SCRAM

pytestmark = pytest.mark.live

# Older ones send their nonce twice, which Kafka 4 refuses.
VERSION = tuple(int(part) for part in _core.versions()["librdkafka"].split(".")[:3])
MECHANISM = SCRAM if VERSION >= (2, 6, 1) else PLAIN


@pytest.fixture
async def admin(stack):
    async with Admin(config=stack.sasl_config("admin", MECHANISM)) as client:
        yield client


@pytest.fixture
async def alice(stack):
    """An admin client that is a user without rights."""
    async with Admin(config=stack.sasl_config("alice", MECHANISM)) as client:
        yield client


@pytest.fixture
async def topic(admin, request):
    name = f"acl-{request.node.originalname}"[:80]
    await admin.create_topic(name)
    yield name
    await admin.delete_acls(principal="User:alice")


async def send(stack, topic):
    async with Producer(config=stack.sasl_config("alice", MECHANISM), enable_idempotence=False) as producer:
        return await producer.send(topic, "색")


async def allowed(call, seconds=20):
    """The result of ``call()`` as soon as the broker has heard of a new rule."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await call()
            except RejectedError as error:
                if not error.code.endswith("AUTHORIZATION_FAILED"):
                    raise
                await asyncio.sleep(0.02)


async def until_rules_are(admin, rules, seconds=20):
    """Wait until the broker has heard of new rules, or that they are gone."""
    async with asyncio.timeout(seconds):
        while set(await admin.describe_acls(principal="User:alice")) != rules:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_rule_opens_a_topic_for_a_user(stack, admin, alice, topic):
    with pytest.raises(RejectedError) as caught:
        await send(stack, topic)
    assert caught.value.code == "TOPIC_AUTHORIZATION_FAILED"
    assert "this user needs an ACL for it" in caught.value.message
    await admin.create_acl(Acl("topic", topic, "User:alice", "write"))
    assert (await allowed(lambda: send(stack, topic))).offset == 0
    with pytest.raises(RejectedError) as caught:
        await alice.delete_topic(topic)
    assert caught.value.code == "TOPIC_AUTHORIZATION_FAILED"


async def test_rules_are_described_by_every_filter_and_deleted(admin, topic):
    rules = [
        Acl("cluster", "kafka-cluster", "User:alice", "describe"),
        Acl("group", '그룹 "인용"', "User:alice", "read", host="127.0.0.1"),
        Acl("topic", topic, "User:alice", "read"),
        Acl("topic", topic, "User:alice", "write", permission="deny"),
        Acl("topic", topic[:5], "User:alice", "describe", pattern="prefixed"),
    ]
    await asyncio.gather(*(admin.create_acl(rule) for rule in rules))

    async def found(**options):
        return set(await admin.describe_acls(principal="User:alice", **options))

    await until_rules_are(admin, set(rules))
    assert await found(resource="group") == {rules[1]}
    assert await found(name=topic) == {rules[2], rules[3]}
    assert await found(name=topic, pattern="match") == {rules[2], rules[3], rules[4]}
    assert await found(permission="deny") == {rules[3]}
    assert await found(host="127.0.0.1") == {rules[1]}
    assert await admin.delete_acls(resource="topic", name=topic, operation="read") == [rules[2]]
    assert set(await admin.delete_acls(principal="User:alice")) == set(rules) - {rules[2]}
    await until_rules_are(admin, set())


async def test_who_may_not_change_rules_is_told(alice):
    with pytest.raises(FatalError) as caught:
        await alice.create_acl(Acl("topic", "acl-mine", "User:alice", "all"))
    assert caught.value.code == "CLUSTER_AUTHORIZATION_FAILED"
    assert "this user needs an ACL for it" in caught.value.message


async def test_a_principal_that_is_none_is_refused(admin):
    with pytest.raises(RejectedError, match="Could not parse principal from `alice`"):
        await admin.create_acl(Acl("topic", "acl-x", "alice", "read"))


@pytest.mark.parametrize("call", ["list_topics", "list_groups", "describe_acls", "describe_cluster"])
async def test_a_wrong_password_is_told_from_each_call_before_its_deadline(stack, call):
    wrong = {**stack.sasl_config("alice", MECHANISM), "sasl.password": "틀린"}
    async with Admin(config=wrong) as admin:
        with pytest.raises(FatalError) as caught:
            await getattr(admin, call)(timeout=5)
    assert caught.value.code == "_AUTHENTICATION"
    assert stack.sasl_bootstrap in caught.value.message
    assert "check sasl.mechanism, sasl.username and sasl.password" in caught.value.message


async def test_a_certificate_that_is_not_trusted_is_told(stack):
    config = stack.sasl_config("admin", MECHANISM)
    del config["ssl.ca.location"]
    async with Admin(config=config) as admin:
        with pytest.raises(FatalError, match="SSL handshake failed") as caught:
            await admin.list_groups(timeout=5)
    assert caught.value.code == "_SSL"


async def test_scram_works_with_a_client_that_knows_it(stack, admin):
    await admin.create_topic("acl-scram")
    assert confluent_kafka.libversion()[1] >= 0x020601FF
    client = AdminClient(stack.sasl_config("admin", SCRAM))
    found = await asyncio.to_thread(client.list_topics, timeout=20)
    assert "acl-scram" in found.topics
