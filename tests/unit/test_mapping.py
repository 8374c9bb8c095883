"""The mapping that is found for events: which type a field gets, and why."""

import json

import pytest

from kafkapipe import _mapping
from kafkapipe._mapping import body_of, fields_of, sample
from kafkapipe.config import Elasticsearch, PipelineConfig, loads
from kafkapipe.errors import ConfigError
from kafkapipe.indexes import Target, search_pipeline, targets_of

COLOR = {
    "timestamp": "$now",
    "userAgent": "$header.user-agent",
    "colorName": "$query.color",
    "from": {"ip": "$ip", "where": "가게"},
    "raw": "$body.x",
    "page": 3,
}


def types(events=(), *documents):
    seen, _ = sample(json.dumps(each).encode() for each in documents)
    return {each.path: each.mapping["type"] for each in fields_of(events, seen)}


def test_an_event_template_tells_without_any_record():
    assert types([("GET /api", COLOR)]) == {
        "timestamp": "date", "userAgent": "text", "colorName": "keyword", "from.ip": "ip",
        "from.where": "keyword", "page": "long",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2**63 - 1, None], "long"),
        ([1, 2**63], "keyword"),
        ([1, 1.5], "double"),
        ([True, False], "boolean"),
        ([True, "x"], "keyword"),
        (["2026-01-01", "2026-01-01T10:00:00.000+0900", "2026-12-31T10:00:00Z"], "date"),
        (["2026-01-01", "2026-13-01"], "keyword"),
        (["2026-01-01 10:00:00"], "keyword"),
        (["127.0.0.1", "::1"], "ip"),
        (["빨강"], "keyword"),
        (["가 나 다 " * 30], "text"),
        (["x" * 300], "keyword"),
        ([["a", "b"], "c"], "keyword"),
        ([{"a": 1}, 5], "object"),
    ],
)
def test_types_of_a_sample(values, expected):
    assert types([], *({"f": value} for value in values)) == {"f": expected}


def test_milliseconds_are_a_date_by_name_and_size():
    now = 1767225600000
    seen = {"ts": now, "createdAt": now, "event_time": now, "count": now, "timestamp": 5, "format": now}
    assert types([], seen) == {
        "ts": "date", "createdAt": "date", "event_time": "date", "count": "long", "timestamp": "long",
        "format": "long",
    }  # fmt: skip


def test_null_and_what_is_no_object_tell_nothing():
    found, objects = sample([b'{"a":null,"b":[]}', b"[1]", b"no json", None, b"7", b'{"c":1}'])
    assert objects == 2
    assert [each.path for each in fields_of([], found)] == ["c"]


def test_a_sample_that_a_template_would_refuse_wins():
    found = types([("GET /api", COLOR)], {"timestamp": "gestern", "from": {"ip": "unknown"}, "page": 1.5})
    assert (found["timestamp"], found["from.ip"], found["page"]) == ("keyword", "keyword", "double")
    found = types([("GET /api", COLOR)], {"timestamp": "2026-01-01T10:00:00.000+0900", "colorName": 7})
    assert (found["timestamp"], found["colorName"]) == ("date", "keyword")


def test_nothing_contradicts_itself():
    found = types([("GET /a", {"user": "$query.user"})], {"user": {"id": 1}})
    assert found == {"user.id": "long"}
    found = types([("GET /a", {"user": {"id": "$query.id"}}), ("GET /b", {"user": "$query.user"})])
    assert found == {"user": "keyword"}


def test_the_body_nests_by_path():
    seen, _ = sample([b'{"user":{"id":1,"\xed\x99\x8d":"x"}}'])
    body = body_of(fields_of([], seen))
    assert body["properties"] == {
        "user": {"properties": {"id": {"type": "long"}, "홍": dict(_mapping.KEYWORD)}}
    }


# ---- what is made


def targets(index, topics="[t]", **more):
    options = {"type": "elasticsearch", "index": index, **more}
    pipeline = PipelineConfig.model_validate({"topics": json.loads(topics), "sink": options})
    assert isinstance(pipeline.sink, Elasticsearch)
    return targets_of("p", pipeline, pipeline.sink)


def test_names_that_are_known_are_indexes_and_others_a_template():
    assert targets("kafka-to-es", '["t"]') == (Target("kafka-to-es"),)
    assert targets("{topic}-{{x}}", '["B", "a"]') == (Target("b-{x}"), Target("a-{x}"))
    assert targets("{topic}", '["select-color"]') == (Target("select-color"),)
    assert targets("c-{field:color|none}-{timestamp:%Y}", '["t"]') == (Target("p", "c-*-*"),)
    assert targets("{topic}-{timestamp:%Y}", '["T"]') == (Target("p", "t-*"),)
    assert targets("i-{topic}", '["^a"]') == (Target("p", "i-*"),)
    assert targets("logs", '["t"]', data_stream=True) == (Target("p", "logs"),)


def test_a_template_for_every_name_there_is_is_refused():
    with pytest.raises(ConfigError, match=r"\{topic\} may be of any name: give it a part that is the same"):
        targets("{topic}", '["^a"]')


def test_another_pipeline_is_refused_with_those_there_are():
    config = loads(
        "pipelines: {a: {topics: [t], sink: {type: null}}, b: {topics: [t], sink: {type: elasticsearch}}}"
    )
    with pytest.raises(ConfigError, match="a is no pipeline into Elasticsearch: there are b"):
        search_pipeline(config, "a")
