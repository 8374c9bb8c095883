"""Configuration files, the state file, listings and messages of the stack, without any server."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kafkapipe.errors import ConfigError, KafkaPipeError
from kafkapipe.stack import HdfsEntry, Stack, format_listing, hdfs_listing
from kafkapipe.stack.layout import Wish, make_servers, settle
from kafkapipe.stack.ports import hdfs_ports, kafka_ports, search_ports
from kafkapipe.stack.runner import cause
from kafkapipe.stack.servers import DataNode, KafkaBroker, NameNode
from kafkapipe.stack.state import Record, State

ALL = {"kafka": 0, "hdfs": 0, "search": 0}


def properties(folder, node, brokers):
    KafkaBroker(node, folder, kafka_ports(19092, brokers), brokers, "id").configure()
    text = (folder / f"kafka-{node}" / "server.properties").read_text()
    return dict(line.split("=", 1) for line in text.splitlines())


def test_one_broker_keeps_one_copy(tmp_path):
    found = properties(tmp_path, 1, 1)
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert found["default.replication.factor"] == found["min.insync.replicas"] == "1"


def test_a_broker_for_users_listens_once_more_and_asks_who_they_are(tmp_path):
    KafkaBroker(1, tmp_path, kafka_ports(19092, 1, secure=True), 1, "id").configure()
    text = (tmp_path / "kafka-1" / "server.properties").read_text()
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert found["listeners"].endswith(",SASL_SSL://127.0.0.1:19094")
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092,SASL_SSL://127.0.0.1:19094"
    assert found["authorizer.class.name"].endswith(".StandardAuthorizer")
    assert "authorizer.class.name" not in properties(tmp_path, 1, 1)


def test_data_without_users_are_not_started_with_users(tmp_path):
    state = State(tmp_path / "state.json", brokers=1)
    with pytest.raises(KafkaPipeError, match=r"a cluster without users.*kafkapipe stack wipe"):
        settle(Wish(["kafka"], None, ALL, secure=True), state)
    with pytest.raises(ConfigError, match="secure: is for one broker, not 3"):
        Stack(secure=True, brokers=3, data_dir=tmp_path / "x")
    with pytest.raises(KafkaPipeError, match=r"has no server 'kafka-1'"):
        Stack(secure=True, data_dir=tmp_path / "x").sasl_config("alice")


def test_users_stay_when_they_are_not_asked_for(tmp_path):
    state = State(tmp_path / "state.json")
    settle(Wish(["kafka"], None, ALL, secure=True), state)
    settle(Wish(["kafka"], None, ALL), state)
    assert state.secure
    assert "kafka-1 sasl" in state.ports


def test_three_brokers_keep_three_copies_of_which_two_must_be_in_sync(tmp_path):
    found = properties(tmp_path, 2, 3)
    assert found["node.id"] == "2"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:19093,2@127.0.0.1:19103,3@127.0.0.1:19113"
    for name in ("default.", "offsets.topic.", "transaction.state.log."):
        assert found[f"{name}replication.factor"] == "3"
    assert found["min.insync.replicas"] == found["transaction.state.log.min.isr"] == "2"


@pytest.mark.parametrize("kind", [NameNode, DataNode])
def test_hadoops_file_survives_an_odd_folder(tmp_path, kind):
    folder = tmp_path / 'a <b> & "한글"'
    server = kind(kind.__name__.lower(), folder, hdfs_ports(9870))
    server.configure()
    found = {item[0].text: item[1].text for item in ET.parse(server.file).getroot()}
    assert found["hadoop.tmp.dir"] == str(server.home / "tmp")
    assert found["dfs.namenode.http-address"] == "127.0.0.1:9870"


def test_the_state_comes_back(tmp_path):
    state = State.load(tmp_path / "new")
    state.brokers = 3
    state.ports["kafka-1"] = 9092
    state.servers["kafka-1"] = Record(7, "then", "/archive")
    state.save()
    assert State.load(tmp_path / "new") == state


@pytest.mark.parametrize("text", ["", "{", "[]", '{"servers": {"search": {}}}', '{"servers": {}, "x": 1}'])
def test_a_damaged_state_is_one_clear_line(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(KafkaPipeError, match=r"state\.json is damaged") as caught:
        State.load(tmp_path)
    assert "\n" not in caught.value.message


def test_cluster_ids_are_kafkas():
    ids = {State(Path("unused")).cluster_id for _ in range(200)}
    assert len(ids) == 200
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)


def test_data_of_another_cluster_size_are_not_started(tmp_path):
    state = State(tmp_path / "state.json", brokers=3)
    with pytest.raises(KafkaPipeError, match=r"a cluster of 3 brokers, not 1.*kafkapipe stack wipe"):
        settle(Wish(["kafka"], 1, ALL), state)
    settle(Wish(["kafka"], None, ALL), state)
    assert {"kafka-1", "kafka-2", "kafka-3"} <= set(state.ports)


def test_a_running_component_keeps_its_ports(tmp_path):
    state = State(tmp_path / "state.json", brokers=1, ports=kafka_ports(19092, 1))
    state.servers["kafka-1"] = Record(1, "now")
    settle(Wish(["kafka"], None, ALL), state)
    assert state.ports["kafka-1"] == 19092
    with pytest.raises(KafkaPipeError, match="runs already, on port 19092, not 9092"):
        settle(Wish(["kafka"], None, {**ALL, "kafka": 9092}), state)


def test_wrong_arguments_are_refused_before_anything_happens(tmp_path):
    with pytest.raises(ConfigError, match="there is no 'kafak'; choose from kafka, hdfs, search"):
        Stack(only=["kafak"], data_dir=tmp_path / "x")
    with pytest.raises(ConfigError, match="1 or 3, not 2"):
        Stack(brokers=2, data_dir=tmp_path / "x")
    for name in ("a,b", "a%20b"):
        with pytest.raises(ConfigError, match=f"data_dir: .*{name}"):
            Stack(data_dir=tmp_path / "x" / name)
    assert not (tmp_path / "x").exists()


def test_a_server_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KafkaPipeError, match="no server 'namenode'"):
        _ = Stack(data_dir=tmp_path).webhdfs_url


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", "its log is empty"),
        ("one\n\ntwo\n", "two"),
        ("x\nERROR kafka: Exiting\n\tat a.b.C\nbye\n", "ERROR kafka: Exiting"),
        (
            "java.io.IOException: outer\n\tat x.y(Z)\nCaused by: java.net.BindException: in use\n\tat q\n",
            "Caused by: java.net.BindException: in use",
        ),
        ("Error: " + "가" * 1000, ("Error: " + "가" * 1000)[:300]),
    ],
)
def test_the_cause_is_the_line_that_says_why(log, line):
    assert cause(log) == line


def entry(path, **changes):
    values = {
        "path": path, "is_folder": False, "permission": "644", "replication": 1, "owner": "hadoop",
        "group": "supergroup", "length": 7, "modified": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    }  # fmt: skip
    return HdfsEntry(**{**values, **changes})


@pytest.mark.parametrize(
    ("permission", "folder", "mode"),
    [
        ("755", True, "drwxr-xr-x"),
        ("644", False, "-rw-r--r--"),
        ("1777", True, "drwxrwxrwt"),
        ("1770", True, "drwxrwx--T"),
        ("0", False, "----------"),
    ],
)
def test_modes(permission, folder, mode):
    assert entry("/x", permission=permission, is_folder=folder).mode == mode


def test_a_listing_of_nothing_is_empty():
    assert format_listing([]) == ""


async def test_a_listing_without_a_server_says_where():
    with pytest.raises(KafkaPipeError, match=r"hdfs list: no answer from http://127\.0\.0\.1:1"):
        await hdfs_listing("http://127.0.0.1:1", "/data")


async def test_wiping_all_removes_what_was_fetched_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setenv("KAFKAPIPE_HOME", str(tmp_path))
    for name in ("jars/kafka", "archives", "stack/kafka-1/data", "stack/mine", "other"):
        (tmp_path / name).mkdir(parents=True)
    state = State.load(tmp_path / "stack")
    state.ports, state.brokers = kafka_ports(9092, 1), 1
    state.save()
    await Stack().wipe()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "jars", "other", "stack"]
    assert sorted(path.name for path in (tmp_path / "stack").iterdir()) == ["lock", "mine"]
    await Stack().wipe(jars=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "stack"]


def test_the_search_server_is_the_one_that_the_data_are_of(tmp_path):
    state = State(tmp_path / "state.json")
    settle(Wish(["search"], None, ALL, search="opensearch"), state)
    settle(Wish(["search"], None, ALL), state)
    assert state.search == "opensearch"
    server = make_servers(tmp_path, state)["search"]
    assert server.launch(tmp_path).main == "OsNode"
    with pytest.raises(KafkaPipeError, match=r"are of opensearch, not of elasticsearch.*wipe --only search"):
        settle(Wish(["search"], None, ALL, search="elasticsearch"), state)


def test_search_data_of_before_there_was_a_choice_are_elasticsearchs(tmp_path):
    state = State(tmp_path / "state.json", ports=search_ports(9200))
    assert make_servers(tmp_path, state)["search"].launch(tmp_path).main == "EsNode"
    with pytest.raises(KafkaPipeError, match="are of elasticsearch, not of opensearch"):
        settle(Wish(["search"], None, ALL, search="opensearch"), state)


def test_an_unknown_search_server_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="search: elasticsearch or opensearch, not 'solr'"):
        Stack(search="solr", data_dir=tmp_path)
