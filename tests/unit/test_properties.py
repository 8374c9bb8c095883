"""How clients take librdkafka's properties."""

import pytest

from kafkapipe import Admin, ConfigError, Producer, _properties


@pytest.mark.parametrize("client", [Producer, Admin])
def test_unknown_property_is_named_with_the_nearest(client):
    with pytest.raises(ConfigError, match=r'kafka property linger\.mss: .* did you mean "linger\.ms"\?'):
        client(linger_mss=5)
    with pytest.raises(ConfigError, match=r"bootstrap\.server: .* did you mean .bootstrap\.servers"):
        client(config={"bootstrap.server": "x"})


def test_value_of_a_wrong_type_is_refused():
    with pytest.raises(ConfigError, match=r"kafka property acks is list"):
        Producer(acks=["all"])


async def test_wrong_value_is_refused_when_the_client_starts():
    with pytest.raises(ConfigError, match=r"kafka property acks: Invalid value"):
        await Producer(acks="some").start()
    with pytest.raises(ConfigError, match="idempotence"):
        await Producer(acks=1, enable_idempotence=True).start()
    with pytest.raises(ConfigError, match=r"kafka property security\.protocol"):
        await Admin(security_protocol="tls").start()


def test_keywords_and_mappings_are_one(monkeypatch):
    monkeypatch.delenv("KAFKAPIPE_BOOTSTRAP", raising=False)
    found = _properties.collect(
        None, {"acks": "all", "linger.ms": 1}, {"linger_ms": 7, "enable_idempotence": True}
    )
    assert found == {
        "acks": "all",
        "linger.ms": "7",
        "enable.idempotence": "true",
        "bootstrap.servers": "127.0.0.1:9092",
    }


def test_servers_come_from_the_call_then_the_mapping_then_the_environment(monkeypatch):
    monkeypatch.setenv("KAFKAPIPE_BOOTSTRAP", "environment:1")

    def servers(bootstrap, config):
        return _properties.collect(bootstrap, config, {}).get("bootstrap.servers")

    assert servers("call:1", {"bootstrap.servers": "mapping:1"}) == "call:1"
    assert servers(None, {"bootstrap.servers": "mapping:1"}) == "mapping:1"
    assert servers(None, {"metadata.broker.list": "mapping:1"}) is None
    assert servers(None, None) == "environment:1"


@pytest.mark.parametrize(
    ("given", "acks", "idempotence"),
    [
        ({}, "all", "true"),
        ({"acks": "-1"}, "-1", "true"),
        ({"acks": "1"}, "1", "false"),
        ({"acks": "0", "enable.idempotence": "true"}, "0", "true"),
    ],
)
def test_producer_loses_nothing_unless_told_to(given, acks, idempotence):
    found = {**_properties.producer_defaults(given), **given}
    assert (found["acks"], found["enable.idempotence"]) == (acks, idempotence)


def test_old_name_of_acks_is_known():
    assert "acks" not in _properties.producer_defaults({"request.required.acks": "1"})


def test_secret_is_not_in_messages():
    with pytest.raises(ConfigError) as caught:
        Producer(sasl_passwort="맑은하늘")
    assert "맑은하늘" not in caught.value.message
