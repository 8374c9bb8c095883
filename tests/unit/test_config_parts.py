"""The small parsers under the configuration: units, addresses, templates; and any text at all."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkapipe import _template, _units
from kafkapipe.config import loads
from kafkapipe.errors import ConfigError

EXAMPLE = (Path(__file__).parents[2] / "examples" / "color.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (65536, 65536), ("65536", 65536), ("0", 0), ("1B", 1), ("1kB", 1000), ("1KB", 1000), ("64KiB", 65536),
        ("128MiB", 2**27), ("1.5 GiB", 3 * 2**29), ("1GB", 10**9), ("9007199254740993", 2**53 + 1),
    ],
)  # fmt: skip
def test_sizes(text, expected):
    assert _units.parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1 XB", "1e3", "１", True, None, 1.5, "1MiB2", "128 MiB x"]
)
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="must be a size like"):
        _units.parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", 0), ("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000),
     ("1.5s", 1500), (" 2 s ", 2000)],
)  # fmt: skip
def test_durations(text, expected):
    assert _units.parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "30", 30, 0, "s", "-1s", "1 week", "1m30s", True, None])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="must be a duration with its unit"):
        _units.parse_duration(text)


@given(st.integers(0, 2**62))
def test_a_size_and_a_duration_print_as_what_they_are(number):
    assert _units.parse_bytes(_units.format_bytes(number)) == number
    assert _units.parse_duration(_units.format_duration(number)) == number


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("localhost:0", ("localhost", 0)), ("[::1]:1", ("::1", 1))],
)
def test_addresses(listen, expected):
    assert _units.split_listen(listen) == expected


@pytest.mark.parametrize("listen", ["", "8080", ":8080", "h:", "h:65536", "h:-1", "::1:80", "h:８０", "h:x"])
def test_what_is_no_address(listen):
    with pytest.raises(ValueError, match="must be host:port"):
        _units.split_listen(listen)


@pytest.mark.parametrize("url", ["http://h", "https://h:9200/prefix", "http://[::1]:9200"])
def test_urls(url):
    assert _units.check_url(url) == url
    assert _units.check_url(url + "/") == url


@pytest.mark.parametrize(
    "url", ["", "h:9200", "ftp://h", "http://", "http://h:x", "http://h?q", "http://u:p@h"]
)
def test_what_is_no_url(url):
    with pytest.raises(ValueError, match="must"):
        _units.check_url(url)


def test_the_placeholders_of_a_template():
    text = "/색/{{x}}/{topic}/{timestamp:%Y/%m}/{field:user.id}-{partition}-{offset}-{end}-{key}"
    names = ["topic", "timestamp", "field", "partition", "offset", "end", "key"]
    assert _template.placeholders(text) == names
    assert _template.literals(text) == "/색/{x}///----"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{", 'has a lone "{" at position 1'),
        ("a}b", 'has a lone "}" at position 2'),
        ("{ofset}", 'has the unknown placeholder {ofset}; did you mean "offset"?'),
        ("{}", "has the unknown placeholder {}; there are: topic, partition"),
        ("{offset:5}", "has {offset:5}, but {offset} takes no argument"),
        ("{timestamp}", "needs a form in {timestamp:FORM}"),
        ("{timestamp:%Y-%q}", "has %q in {timestamp:%Y-%q}; there are: %Y %m %d %H %M %S %j"),
        ("{timestamp:%}", "has % in {timestamp:%}"),
        ("{field}", "needs the name of the field"),
        ("{field:a..b}", "needs the name of the field"),
    ],
)
def test_a_wrong_template(template, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is looked at
        _template.placeholders(template)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/a/{partition}-{offset}/", "must end in a file name"),
        ("/a/../{partition}-{offset}", 'must not have "." or ".."'),
        ("/a//{partition}-{offset}", 'must not have "//" in it'),
        ("/a/{offset}", "must contain {partition}, or files would overwrite each other"),
    ],
)
def test_a_wrong_path(path, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        _template.check_file_path(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("index", ["a b", "a,b", "A", "-a", "_a", "+a", "", "a#b", "{end}", 'a"b'])
def test_a_wrong_index(index):
    with pytest.raises(ValueError, match=r"must|has"):
        _template.check_index(index)


@pytest.mark.parametrize("index", ["kafka-to-es", "{topic}", "색-{timestamp:%Y.%m.%d}", "a-{field:User.Id}"])
def test_indexes(index):
    assert _template.check_index(index) == index


def mutated(text):
    """The example with one piece cut out and another put in."""
    at = st.integers(0, len(text))
    piece = st.text(string.printable + "홍\x00\u2028", max_size=6)
    return st.tuples(at, at, piece).map(lambda cut: text[: min(cut[:2])] + cut[2] + text[max(cut[:2]) :])


@given(st.one_of(st.text(max_size=60), mutated(EXAMPLE)))
def test_any_text_is_a_configuration_or_a_list_of_lines(text):
    lines = []
    try:
        loads(text, "f.yaml")
    except ConfigError as error:
        lines = str(error).splitlines()
    assert all(line.startswith("f.yaml") for line in lines)


def test_a_line_break_in_a_name_makes_no_second_line():
    with pytest.raises(ConfigError) as caught:
        loads('pipelines: {"a\\nb": {topics: [t], sink: {type: "x\\u2028"}}}', "f.yaml")
    assert str(caught.value).splitlines() == [
        r"f.yaml:1: pipelines.a\nb: a pipeline's name has 1 to 200 letters, digits, '.', '_' and '-'",
        r'f.yaml:1: pipelines.a\nb.sink.type: unknown type "x\u2028"; '
        "there are: hdfs, file, elasticsearch, null",
    ]
