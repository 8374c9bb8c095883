"""The colour page as a person uses it, and what lies in the topic afterwards."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kafkapipe import demo
from kafkapipe._core import MockCluster
from kafkapipe.app import App
from kafkapipe.config import CollectorConfig
from kafkapipe.producer import Producer
from kafkapipe.web.collector import Collector
from kafkapipe.web.server import Server

EVENT = {
    "timestamp": "$now",
    "userAgent": "$header.user-agent",
    "colorName": "$query.color",
    "userName": "$query.user",
}
CONFIG = {
    "routes": [
        {"method": "GET", "path": "/api/select", "topic": "select-color", "cors": ["*"], "event": EVENT}
    ]
}


@pytest.fixture
def cluster():
    with MockCluster() as cluster:
        cluster.create_topic("select-color", 3)
        yield cluster


@pytest.fixture
async def collector(cluster):
    producer = Producer(cluster.bootstrap, linger_ms=1)
    await producer.start()
    collector = Collector.from_config(
        CollectorConfig.model_validate({**CONFIG, "ack_timeout": "2s"}), producer
    )
    server = Server(collector, "127.0.0.1:0", option="collector.listen")
    await server.start()
    collector.url = server.url
    yield collector
    await server.close(1)
    await producer.close(1)


@pytest.fixture
async def page(open_page, collector):
    return await asyncio.to_thread(open_page, collector.url)


@pytest.fixture
def events(cluster, read_topic):
    async def read():
        records = await asyncio.to_thread(read_topic, cluster.bootstrap, "select-color", 3)
        return [record.value for record in records]

    return read


async def test_an_empty_name_is_an_alert_and_nothing_is_sent(page, collector, events):
    for name in ("", "   "):
        await asyncio.to_thread(page.type, name)
        await asyncio.to_thread(page.click, "red")
        assert await asyncio.to_thread(page.alert) == "이름을 입력하세요"
    assert not [path for path, _ in collector.stats.requests if path == "/api/select"]
    assert await events() == []


async def test_a_korean_name_arrives_byte_for_byte(page, chromium, events):
    await asyncio.to_thread(page.type, "홍길동")
    for color in ("red", "yellow", "green", "blue"):
        await asyncio.to_thread(page.click, color)
    await asyncio.to_thread(page.wait.until, lambda _: len(page.sent()) == 4)
    assert await asyncio.to_thread(page.outcome) == ("good", "✓ 홍길동 님의 파랑, 보냈습니다.")
    arrived = await events()
    agent = json.dumps(await asyncio.to_thread(chromium.execute_script, "return navigator.userAgent"))
    assert {value.partition(b',"userAgent"')[2].decode() for value in arrived} == {
        f':{agent},"colorName":"{color}","userName":"홍길동"}}'
        for color in ("red", "yellow", "green", "blue")
    }
    assert await asyncio.to_thread(page.complaints) == []


@pytest.mark.parametrize("name", ["R&D=100% #1?+/", '"큰따옴표"\\', "</script><b>x</b>", "  공백  "])
async def test_names_that_urls_and_json_trip_over(page, events, name):
    await asyncio.to_thread(page.type, name)
    await asyncio.to_thread(page.click, "green")
    kind, _ = await asyncio.to_thread(page.outcome)
    assert kind == "good"
    (value,) = await events()
    assert json.loads(value)["userName"] == name


async def test_by_keyboard_alone(page, chromium, events):
    def keys():
        chromium.switch_to.active_element.send_keys("키보드", Keys.ENTER)
        chromium.switch_to.active_element.send_keys(Keys.TAB)
        chromium.switch_to.active_element.send_keys(Keys.SPACE)
        return page.outcome()

    assert (await asyncio.to_thread(keys))[0] == "good"
    (value,) = await events()
    assert json.loads(value)["colorName"] == "yellow"


async def test_it_says_when_kafka_does_not_take_it(page, cluster):
    cluster.set_up(-1, False)
    await asyncio.to_thread(page.type, "홍길동")
    await asyncio.to_thread(page.click, "red")
    kind, text = await asyncio.to_thread(page.outcome)
    assert kind == "bad"
    assert "보내지 못했습니다" in text
    assert await asyncio.to_thread(page.sent) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_it_fits_every_width(page, chromium, width):
    def overflow():
        chromium.set_window_size(width, 800)
        return chromium.execute_script("return document.documentElement.scrollWidth - innerWidth")

    assert await asyncio.to_thread(overflow) <= 0


NAMES = {
    "ko": ("이름", ["빨강 red", "노랑 yellow", "초록 green", "파랑 blue"], "색", "좋아하는 색을 고르세요"),
    "en": ("Your name", ["red 빨강", "yellow 노랑", "green 초록", "blue 파랑"], "Colours", "Pick a colour"),
}


@pytest.mark.parametrize("language", NAMES)
async def test_every_control_has_a_name_for_screen_readers(open_page, collector, chromium, language):
    def look():
        open_page(collector.url, language)
        field = chromium.find_element(By.ID, "user_name")
        buttons = chromium.find_elements(By.TAG_NAME, "button")
        group = chromium.find_element(By.CSS_SELECTOR, "[role=group]")
        names = [button.accessible_name for button in buttons]
        assert chromium.find_element(By.ID, "status").aria_role == "status"
        assert chromium.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
        return field.accessible_name, names, group.accessible_name, chromium.title

    assert await asyncio.to_thread(look) == NAMES[language]


async def test_it_speaks_the_browsers_language_until_another_is_chosen(collector, chromium):
    def look():
        heading = chromium.find_element(By.TAG_NAME, "h1").text
        switch = chromium.find_element(By.ID, "language")
        return chromium.find_element(By.TAG_NAME, "html").get_attribute("lang"), heading, switch.text

    def course():
        chromium.get(f"{collector.url}/")
        yield look()
        chromium.find_element(By.ID, "language").send_keys(Keys.ENTER)
        yield look()
        chromium.get(f"{collector.url}/")  # it remembers
        yield look()

    english, korean = ("en", "Pick a colour", "한국어"), ("ko", "좋아하는 색을 고르세요", "English")
    assert await asyncio.to_thread(lambda: list(course())) == [english, korean, korean]


async def test_what_it_said_is_said_in_the_other_language_too(page, chromium):
    def course():
        page.type("홍길동")
        page.click("yellow")
        page.outcome()
        chromium.find_element(By.ID, "language").click()
        return page.outcome(), chromium.find_element(By.CSS_SELECTOR, "#sent .what").text

    assert await asyncio.to_thread(course) == (("good", "✓ 홍길동’s yellow: sent."), "yellow")


async def test_an_empty_name_is_told_beside_the_field_as_well(open_page, collector, chromium):
    def course():
        page = open_page(collector.url, "en")
        page.click("blue")
        text = page.alert()
        field, hint = chromium.find_element(By.ID, "user_name"), chromium.find_element(By.ID, "hint")
        told = (text, field.get_attribute("aria-invalid"), field.get_attribute("aria-describedby"), hint.text)
        assert chromium.switch_to.active_element == field
        page.type("홍")
        return told, field.get_attribute("aria-invalid"), hint.text

    told, healed, hint = await asyncio.to_thread(course)
    assert told == ("이름을 입력하세요", "true", "hint", "Please type your name.")
    assert (healed, hint) == (None, "Type your name, then press a colour.")


async def test_a_click_just_before_the_page_is_left_arrives(page, chromium, events):
    def course():
        page.type("떠나는 사람")
        page.click("red")
        chromium.get("about:blank")

    await asyncio.to_thread(course)
    async with asyncio.timeout(20):
        while not (arrived := await events()):
            pass
    assert [json.loads(value)["userName"] for value in arrived] == ["떠나는 사람"]


async def test_the_page_of_the_demo_shows_where_an_event_went(tmp_path, open_page):
    def course(url):
        page = open_page(url)
        for name in ("김철수", '"홍" & 길동'):
            page.rename(name)
            page.click("green")
        page.wait.until(lambda _: len(page.steps()) == 2)
        return page.steps(), page.outcome(), page.complaints()

    async with (
        demo.light_servers(tmp_path) as servers,
        servers.trail() as trail,
        App(demo.configuration(servers, once=True), around=trail.around) as app,
    ):
        (kafka, file), said, complaints = await asyncio.to_thread(course, app.collector_url)
        async with httpx.AsyncClient(base_url=app.collector_url, trust_env=False) as http:
            assert (await http.get("/demo/trail/nothing")).status_code == 404
    assert complaints == []
    assert said == ("good", '✓ "홍" & 길동 님의 초록, 모두 저장되었습니다.')
    partition, offset = re.fullmatch(r"Kafka 파티션 (\d), 오프셋 (\d+)", kafka).groups()
    lines = {(number, at): line for number, at, line in _lines(file.removeprefix("파일 "))}
    assert json.loads(lines[int(partition), int(offset)])["userName"] == '"홍" & 길동'


def _lines(path):
    """Partition, offset and line of each record in a file."""
    _, partition, first = Path(path).stem.split("-")
    for number, line in enumerate(Path(path).read_bytes().splitlines()):
        yield int(partition), int(first) + number, line


async def test_a_collector_of_its_own_tells_nobody_where_an_event_went(collector):
    async with httpx.AsyncClient(base_url=collector.url, trust_env=False) as http:
        answer = await http.get("/api/select", params={"color": "red", "user": "홍길동"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert "kafkapipe-trail" not in answer.headers
        assert (await http.get("/demo/trail/x")).status_code == 404
