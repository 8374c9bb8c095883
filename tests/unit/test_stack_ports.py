"""Which ports the stack takes, and what it says when one is taken."""

import socket

import pytest

from kafkapipe.errors import ConfigError, KafkaPipeError
from kafkapipe.stack.ports import check_free, hdfs_ports, kafka_ports, search_ports


def test_defaults_are_those_of_the_servers():
    assert kafka_ports(9092, 1) == {"kafka-1": 9092, "kafka-1 controller": 9093}
    assert hdfs_ports(9870)["namenode"] == 9870
    assert hdfs_ports(9870)["datanode"] == 9864
    assert search_ports(9200) == {"search": 9200, "search transport": 9300}


def test_three_brokers_stand_ten_apart():
    ports = kafka_ports(19092, 3)
    assert [ports[f"kafka-{n}"] for n in (1, 2, 3)] == [19092, 19102, 19112]
    assert len(set(ports.values())) == 6


def test_zero_takes_ports_that_can_be_bound():
    ports = kafka_ports(0, 3) | hdfs_ports(0) | search_ports(0)
    assert len(set(ports.values())) == 13
    for port in ports.values():
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("first", [65_530, 65_535])
def test_a_port_beyond_the_last_one_is_refused(first):
    with pytest.raises(ConfigError, match="kafka_port"):
        kafka_ports(first, 3)


def test_a_derived_port_below_the_first_one_is_refused():
    with pytest.raises(ConfigError, match="hdfs_port"):
        hdfs_ports(50)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named_with_its_server_and_option(address):
    with socket.create_server((address, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(KafkaPipeError) as caught:
            check_free({"namenode": port}, "hdfs_port")
    assert f"port {port} is taken and namenode wants it" in caught.value.message
    assert "--hdfs-port" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_port_in_time_wait_is_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    check_free({"search": port}, "search_port")
