"""The configuration file: what is accepted, what the core gets, the one line that each mistake gives."""

import json
import re
from pathlib import Path

import pytest

from kafkapipe.config import Config, load, loads, to_core_json
from kafkapipe.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "color.yaml"


def pipeline(text: str) -> str:
    """A file with one pipeline, whose lines these are."""
    return "pipelines:\n  a:\n" + "".join(f"    {line}\n" for line in text.splitlines())


def core(text: str, name: str = "a") -> dict:
    config = loads(text)
    return json.loads(to_core_json(name, config.pipelines[name], config.kafka))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, "f.yaml")
    return str(caught.value).splitlines()


def test_the_example_loads():
    config = load(EXAMPLE)
    assert list(config.pipelines) == ["color-to-hdfs", "color-to-elasticsearch"]
    event = config.collector.routes[0].event
    assert list(event) == ["timestamp", "userAgent", "colorName", "userName"]
    assert config.collector.listen == "127.0.0.1:8080"
    assert config.management.listen == "127.0.0.1:8083"


def test_the_core_gets_every_key_resolved():
    config = load(EXAMPLE)
    hdfs, search = (json.loads(to_core_json(*item, config.kafka)) for item in config.pipelines.items())
    assert hdfs == {
        "name": "color-to-hdfs",
        "group": "color-hdfs-save-consumer-group",
        "topics": ["select-color"],
        "workers": 3,
        "kafka": {"bootstrap.servers": "127.0.0.1:9092", "auto.offset.reset": "earliest"},
        "in_flight_bytes": 64 * 2**20,
        "backoff_min_ms": 100,
        "backoff_max_ms": 30_000,
        "dead_letter": {"mode": "topic", "topic": "select-color.dlq"},
        "ranges": None, "redrive": False,
        "sink": {
            "type": "hdfs", "urls": ["http://127.0.0.1:9870"], "user": "hadoop",
            "path": "/data/color-{partition}-{offset}.log", "delegation": None, "redirect_hosts": [],
            "ca_file": None, "cert_file": None, "key_file": None, "key_password": None,
            "format": "raw", "envelope": False, "compression": "none", "open_files": 256, "overrides": {},
            "rotate_records": 10, "rotate_bytes": 128 * 2**20, "rotate_age_ms": 30_000,
            "timeout_ms": 30_000, "buffer_bytes": 64 * 2**20,
            "stream_bytes": 8 * 2**20,
        },
    }  # fmt: skip
    assert search["group"] == "color-to-elasticsearch"
    assert search["sink"] == {
        "type": "elasticsearch", "urls": ["http://127.0.0.1:9200"], "index": "kafka-to-es",
        "operation": "create", "tombstone": "reject", "id": "coordinates", "id_template": None,
        "routing": None,
        "version_offset": False, "data_stream": False, "pipeline": None, "in_flight_bytes": 32 * 2**20,
        "flush_records": 5000, "flush_bytes": 5 * 2**20, "flush_age_ms": 1000, "in_flight": 2, "gzip": False,
        "user": None, "password": None, "authorization": None, "timeout_ms": 30_000,
        "ca_file": None, "cert_file": None, "key_file": None, "key_password": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        ("{type: null}", {"type": "null"}),
        ('{type: "null"}', {"type": "null"}),
        (
            "{type: file, path: '/색/{partition}-{offset}', rotate: {records: 3, bytes: 1MB, age: 500ms}}",
            {
                "type": "file", "path": "/색/{partition}-{offset}",
                "rotate_records": 3, "rotate_bytes": 10**6, "rotate_age_ms": 500, "buffer_bytes": 64 * 2**20,
                "stream_bytes": 8 * 2**20, "format": "raw", "envelope": False, "compression": "none",
                "open_files": 256, "overrides": {},
            },
        ),
    ],
)  # fmt: skip
def test_sinks(sink, expected):
    assert core(pipeline(f"topics: [t]\nsink: {sink}"))["sink"] == expected


def test_topics_may_have_files_of_their_own():
    """What an override does not name is as for all topics."""
    sink = core(pipeline("""topics: [a, b, c]
sink:
  type: hdfs
  path: "/d/{topic}/{partition}-{offset}.log.gz"
  compression: gzip
  format: json
  envelope: true
  rotate: {records: 10, age: 1m}
  delegation: geheim
  redirect_hosts: [dn1]
  overrides:
    a: {rotate: {age: 2s}}
    c: {path: "/c/{partition}-{offset}", rotate: {bytes: 1KiB, records: 5}}
"""))["sink"]  # fmt: skip
    assert (sink["compression"], sink["envelope"], sink["delegation"]) == ("gzip", True, "geheim")
    common = {"rotate_records": 10, "rotate_bytes": 128 * 2**20, "rotate_age_ms": 60_000}
    assert sink["overrides"] == {
        "a": {"path": "/d/{topic}/{partition}-{offset}.log.gz", **common, "rotate_age_ms": 2000},
        "c": {"path": "/c/{partition}-{offset}", **common, "rotate_bytes": 1024, "rotate_records": 5},
    }


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        ("{type: file, format: raw, envelope: true}", "it needs format: json"),
        ("{type: hdfs, path: '/a,b/{partition}-{offset}'}", "has a comma among its folders"),
        ("{type: hdfs, path: '/a/../b/{partition}-{offset}'}", 'must not have "." or ".."'),
        ("{type: hdfs, path: 'a/{partition}-{offset}'}", "must be absolute"),
        ("{type: hdfs, overrides: {t: {path: 'a/{partition}-{offset}'}}}", "must be absolute"),
        ("{type: file, overrides: {t: {path: '/a/{offset}'}}}", "must contain {partition}"),
        ("{type: file, compression: lz4}", "compression"),
    ],
)
def test_files_that_cannot_be(sink, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        core(pipeline(f"topics: [t]\nsink: {sink}"))


def test_topics_that_would_share_a_path():
    own = "{path: '/x/{partition}-{offset}'}"
    sink = f"{{type: file, overrides: {{a: {own}, b: {own}}}}}"
    with pytest.raises(ConfigError, match=r"must contain \{topic\} when several topics are read"):
        core(pipeline(f"topics: [a, b]\nsink: {sink}"))


def test_a_relative_file_path_starts_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sink = core(pipeline("topics: [t]\nsink: {type: file}"))["sink"]
    assert sink["path"] == f"{tmp_path}/data/{{topic}}/{{partition}}-{{offset}}.log"


@pytest.mark.parametrize(
    ("dead_letter", "expected"),
    [
        ("{topic: d}", {"mode": "topic", "topic": "d"}),
        ("drop", {"mode": "drop", "topic": None}),
        ("null", {"mode": "stop", "topic": None}),
    ],
)
def test_dead_letters(dead_letter, expected):
    text = pipeline(f"topics: [t]\nsink: {{type: null}}\ndead_letter: {dead_letter}")
    assert core(text)["dead_letter"] == expected


def test_a_pipelines_kafka_properties_come_over_those_of_the_file():
    text = "kafka: {bootstrap.servers: k:1, fetch.wait.max.ms: 50, allow.auto.create.topics: false}\n"
    text += pipeline(
        "topics: [t]\nsink: {type: null}\nstart: latest\nkafka: {fetch.wait.max.ms: 9, client.id: 클라이언트}"
    )
    assert core(text)["kafka"] == {
        "bootstrap.servers": "k:1",
        "fetch.wait.max.ms": "9",
        "allow.auto.create.topics": "false",
        "client.id": "클라이언트",
        "auto.offset.reset": "latest",
    }


def test_bootstrap_overrides_the_file():
    text = "kafka: {bootstrap.servers: k:1}\n" + pipeline("topics: [t]\nsink: {type: null}")
    assert loads(text).bootstrap == "k:1"
    assert loads(text, bootstrap="h:2").bootstrap == "h:2"
    assert loads(pipeline("topics: [t]\nsink: {type: null}")).bootstrap == "127.0.0.1:9092"


def test_a_dumped_configuration_loads_again():
    config = load(EXAMPLE)
    assert Config.model_validate(config.model_dump()) == config
    assert Config.model_validate_json(config.model_dump_json()) == config


# ---- one line for each mistake

GOOD = "topics: [t]\nsink: {type: null}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "f.yaml:1: is no valid YAML: mapping values are not allowed here"),
        ("", "f.yaml: must be a mapping with the keys kafka, collector, pipelines, management"),
        ("kafka: {}", "f.yaml: there is neither a collector nor a pipeline: nothing to do"),
        ("pipelines:\n  a: 3\n", "f.yaml:2: pipelines.a: must be a mapping, not 3"),
        (
            "pipelines:\n  1: {topics: [t], sink: {type: file}}\n",
            "f.yaml:2: pipelines.1: the name must be text; put it in quotes",
        ),
        (
            "managment: {}\n" + pipeline(GOOD),
            'f.yaml:1: managment: unknown option; did you mean "management"?',
        ),
        (
            pipeline("topics: [t]\nsink: {type: hdfs,\n  rotat: {}}"),
            'f.yaml:5: pipelines.a.sink.rotat: unknown option; did you mean "rotate"?',
        ),
        (
            pipeline("topics: [t]\nsink: {type: hsdf}"),
            'f.yaml:4: pipelines.a.sink.type: unknown type "hsdf"; did you mean "hdfs"?',
        ),
        (
            pipeline("topics: [t]\nsink: {url: 'http://h'}"),
            "f.yaml:4: pipelines.a.sink.type: is missing; there are: hdfs, file, elasticsearch, null",
        ),
        (pipeline("topics: [t]"), "f.yaml:2: pipelines.a.sink: is missing"),
        (pipeline("topics: []\nsink: {type: null}"), "f.yaml:3: pipelines.a.topics: must not be empty"),
        (pipeline("topics: t\nsink: {type: null}"), "f.yaml:3: pipelines.a.topics: must be a list, not 't'"),
        (
            pipeline(GOOD + "topics: [u]"),
            "f.yaml:5: pipelines.a.topics: stands twice; the first is on line 3",
        ),
        (
            pipeline(GOOD + "workers: many"),
            "f.yaml:5: pipelines.a.workers: must be a whole number, not 'many'",
        ),
        (pipeline(GOOD + "workers: 0"), "f.yaml:5: pipelines.a.workers: must be at least 1, not 0"),
        (
            pipeline(GOOD + "in_flight: lots"),
            "f.yaml:5: pipelines.a.in_flight: must be a size like 128MiB, 1MB or 65536, not 'lots'",
        ),
        (
            pipeline(GOOD + "retry: {max: 30}"),
            "f.yaml:5: pipelines.a.retry.max: "
            "must be a duration with its unit, like 500ms, 30s, 5m or 1h, not 30",
        ),
        (pipeline(GOOD + "retry: {min: 1m}"), "f.yaml:5: pipelines.a.retry: min is longer than max"),
        (
            pipeline(GOOD + "dead_letter: dorp"),
            "f.yaml:5: pipelines.a.dead_letter: must be {topic: NAME} or drop, not 'dorp'",
        ),
        (
            pipeline(GOOD + "dead_letter: {topc: x, topic: y}"),
            'f.yaml:5: pipelines.a.dead_letter.topc: unknown option; did you mean "topic"?',
        ),
        (
            pipeline(GOOD + "dead_letter: {topic: t}"),
            "f.yaml:2: pipelines.a: dead_letter.topic t is among the topics of this pipeline: a loop",
        ),
        (
            pipeline(GOOD + "transforms: [{type: rename}]"),
            "f.yaml:5: pipelines.a.transforms: no transforms are known in this version; leave the list empty",
        ),
        (
            pipeline("topics: [색]\nsink: {type: null}"),
            "f.yaml:3: pipelines.a.topics[0]: "
            "has '색': a topic's name has letters a to z, digits, '.', '_' and '-' only",
        ),
        (
            pipeline("topics: ['^(a']\nsink: {type: null}"),
            "f.yaml:3: pipelines.a.topics[0]: "
            "is no regular expression: missing ), unterminated subpattern at position 1",
        ),
        (
            pipeline("topics: [t]\nsink: {type: hdfs, path: 'x/{partition}-{offset}'}"),
            'f.yaml:4: pipelines.a.sink.path: must be absolute: start it with "/", '
            "not 'x/{partition}-{offset}'",
        ),
        (
            pipeline("topics: [t]\nsink: {type: hdfs, path: '/x/{topic}.log'}"),
            "f.yaml:4: pipelines.a.sink.path: must contain {partition} and {offset}, "
            "or files would overwrite each other",
        ),
        (
            pipeline("topics: [t]\nsink: {type: hdfs, path: '/x/{partiton}-{offset}'}"),
            "f.yaml:4: pipelines.a.sink.path: has the unknown placeholder {partiton}; "
            'did you mean "partition"?',
        ),
        (
            pipeline("topics: [t, u]\nsink: {type: hdfs, path: '/x/{partition}-{offset}'}"),
            "f.yaml:2: pipelines.a: sink.path must contain {topic} when several topics are read, "
            "or files would collide",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, index: Farben}"),
            "f.yaml:4: pipelines.a.sink.index: must be lower case, not 'Farben'",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, user: u}"),
            "f.yaml:4: pipelines.a.sink: user and password belong together: give both or none",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, data_stream: true, operation: index}"),
            "f.yaml:4: pipelines.a.sink: a data stream takes operation create only, and deletes nothing",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, version: offset}"),
            "f.yaml:4: pipelines.a.sink: version is for operation index, with ids that are not auto",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, operation: upsert, id: auto}"),
            "f.yaml:4: pipelines.a.sink: operation upsert needs an id: key, "
            "or a template like {field:user.id}",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, tombstone: delete}"),
            "f.yaml:4: pipelines.a.sink: tombstone: delete needs ids that a tombstone has, too: "
            "id: key, for example",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, id: fixed}"),
            "f.yaml:4: pipelines.a.sink.id: is topic+partition+offset, key, auto or a template with "
            "{key}, {field:NAME} or {offset}: else all records would be one document",
        ),
        (
            pipeline(
                "topics: [t]\nsink: {type: elasticsearch, tombstone: delete, id: key, index: '{field:a}'}"
            ),
            "f.yaml:4: pipelines.a.sink: index names a field, which a tombstone does not have: "
            "use {key}, or give a default like {field:user.id|none}",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, routing: kye}"),
            "f.yaml:4: pipelines.a.sink.routing: is key, or a template like {field:user.id}",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, api_key: 'a b'}"),
            "f.yaml:4: pipelines.a.sink.api_key: has characters that fit into no HTTP header, or none at all",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, user: u, password: p, token: x}"),
            "f.yaml:4: pipelines.a.sink: password and token exclude each other: give one",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, tls: {key: k.pem}}"),
            "f.yaml:4: pipelines.a.sink.tls: key belongs to a certificate: give cert, too",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, index: 'a-{topic|x}'}"),
            "f.yaml:4: pipelines.a.sink.index: has {topic|x}; "
            "a default is for {key|TEXT} and {field:NAME|TEXT}",
        ),
        (
            pipeline("topics: [t]\nsink: {type: elasticsearch, index: 'a-{key|None}'}"),
            "f.yaml:4: pipelines.a.sink.index: must be lower case, not 'a-{key|None}'",
        ),
        (
            pipeline(GOOD) + "  b: {topics: [u], group: a, sink: {type: null}}\n",
            "f.yaml: pipelines a and b share the group a: each would miss records",
        ),
        (
            "kafka: {boostrap.servers: x}\n" + pipeline(GOOD),
            "f.yaml:1: kafka.boostrap.servers: unknown librdkafka property; "
            'did you mean "bootstrap.servers"?',
        ),
        (
            "kafka: {group.id: x}\n" + pipeline(GOOD),
            "f.yaml:1: kafka.group.id: cannot be set here: set the pipeline's group",
        ),
        (
            "collector: {listen: 8080}",
            "f.yaml:1: collector.listen: must be host:port, like 127.0.0.1:8080, not 8080",
        ),
        (
            "collector: {routes: [{method: PUT, path: /a, topic: t}]}",
            "f.yaml:1: collector.routes[0].method: must be 'GET' or 'POST', not 'PUT'",
        ),
        (
            "collector: {routes: [{method: GET, path: /a, topic: t}]}",
            "f.yaml:1: collector.routes[0]: a GET route needs an event template: what the event is made of",
        ),
        (
            "collector: {routes: [{method: GET, path: /a, topic: t, event: {a: $qeury.x}}]}",
            "f.yaml:1: collector.routes[0].event.a: '$qeury.x' is none of $now, $uuid, $ip, $header.NAME, "
            "$query.NAME, $path.NAME, $body, $body.FIELD; write $$ for a leading dollar sign",
        ),
    ],
)
def test_one_line_for_a_mistake(text, expected):
    assert problems(text) == [expected]


def test_all_mistakes_are_told_at_once():
    text = pipeline("topics: [t]\nsink: {type: hdfs, usr: x}\nworkers: 0\nstart: now")
    assert [line.split(": ")[1] for line in problems(text)] == [
        "pipelines.a.workers",
        "pipelines.a.start",
        "pipelines.a.sink.usr",
    ]


def test_a_pipeline_may_be_named_like_an_option():
    text = "pipelines:\n  sink: {topics: [t], sink: {type: hdfs, rotat: {}}}\n"
    assert problems(text) == ['f.yaml:2: pipelines.sink.sink.rotat: unknown option; did you mean "rotate"?']


def test_a_yaml_anchor_may_be_merged_and_overridden():
    text = pipeline("&a\ntopics: [t]\nsink: {type: null}\n")
    text = text.replace("  a:\n    &a", "  a: &a")
    config = loads(text + "  b:\n    <<: *a\n    topics: [u]\n")
    assert config.pipelines["b"].topics == ["u"]


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file or directory"):
        load(tmp_path / "gone.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"kafka: \xff\xfe")
    with pytest.raises(ConfigError, match=r"broken\.yaml: is not UTF-8 at byte 7"):
        load(broken)


# ---- secrets

SEARCH = "topics: [t]\nsink: {type: elasticsearch, user: u, password: '%s'}"
SECRET = "pass'word\"홍길동"


def test_a_secret_from_the_environment(monkeypatch):
    monkeypatch.setenv("ES_PASSWORD", SECRET)
    assert core(pipeline(SEARCH % "${ES_PASSWORD}"))["sink"]["password"] == SECRET


def test_a_secret_from_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    assert core(pipeline(SEARCH % f"${{file:{file}}}"))["sink"]["password"] == SECRET


def test_a_doubled_dollar_sign_is_a_plain_one(monkeypatch):
    monkeypatch.setenv("A", "$${A}")
    assert core(pipeline(SEARCH % "x$${A}${A}$$"))["sink"]["password"] == "x${A}$${A}$$"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("${NO_SUCH_VARIABLE}", "the environment variable NO_SUCH_VARIABLE is not set"),
        ("${file:/no/such}", "the file /no/such cannot be read: No such file or directory"),
        (
            "${A-B}",
            "after ${ stands the name of an environment variable or file:PATH, then }",
        ),
    ],
)
def test_a_secret_that_is_not_there(reference, expected):
    assert problems(pipeline(SEARCH % reference)) == [f"f.yaml:4: pipelines.a.sink.password: {expected}"]


def test_secrets_are_never_shown(monkeypatch):
    monkeypatch.setenv("PW", SECRET)
    text = "kafka: {sasl.password: '${PW}'}\n" + pipeline(
        SEARCH % "${PW}" + "\nkafka: {sasl.password: '${PW}'}"
    )
    config = loads(text)
    assert config.kafka["sasl.password"] == SECRET
    for shown in (repr(config), str(config), config.model_dump_json(include={"pipelines": {"a": {"sink"}}})):
        assert SECRET not in shown
        assert "길동" not in shown


def test_a_wrong_value_from_the_environment_is_quoted_as_the_file_has_it(monkeypatch):
    monkeypatch.setenv("PW", SECRET)
    lines = problems(pipeline("topics: [t]\nsink: {type: elasticsearch, timeout: '${PW}', url: '${PW}'}"))
    assert len(lines) == 2
    assert all("'${PW}'" in line and "홍길동" not in line for line in lines)


def test_credentials_in_a_url_are_refused_and_not_repeated():
    lines = problems(pipeline("topics: [t]\nsink: {type: elasticsearch, url: 'ftp://u:hunter2@h'}"))
    assert lines == [
        "f.yaml:4: pipelines.a.sink.url: must not carry a user and password; give them as options of the sink"
    ]


@pytest.mark.parametrize(
    ("options", "in_flight"),
    [
        ("", 4),
        ("operation: index", 4),
        ("operation: index, id: key, version: offset, tombstone: delete", 4),
        ("id: auto, operation: index", 4),
        ("operation: index, id: key", 1),
        ("operation: upsert, id: '{field:user.id}'", 1),
        ("id: key, tombstone: delete", 1),
    ],
)
def test_one_request_at_a_time_where_order_decides(options, in_flight):
    sink = core(pipeline(f"topics: [t]\nsink: {{type: elasticsearch, in_flight: 4, {options}}}"))["sink"]
    assert sink["in_flight"] == in_flight


def test_ids_and_routing_become_templates():
    text = "topics: [t]\nsink: {type: elasticsearch, id: key, routing: '{field:user.id|0}', operation: index}"
    sink = core(pipeline(text))["sink"]
    assert (sink["id"], sink["id_template"], sink["routing"]) == ("template", "{key}", "{field:user.id|0}")
