"""The colour page as a person uses it, and what lies in the topic afterwards."""

import asyncio
import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kafkapipe._core import MockCluster
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
    collector = Collector(CollectorConfig.model_validate(CONFIG), producer, ack_seconds=2)
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
    assert await asyncio.to_thread(page.outcome) == ("good", "✓ 홍길동 님의 파랑, 보냈습니다.\nSent.")
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


async def test_every_control_has_a_name_for_screen_readers(page, chromium):
    field = chromium.find_element(By.ID, "user_name")
    assert field.accessible_name == "이름 Your name"
    buttons = chromium.find_elements(By.TAG_NAME, "button")
    assert [button.accessible_name for button in buttons] == [
        "빨강 red",
        "노랑 yellow",
        "초록 green",
        "파랑 blue",
    ]
    assert chromium.find_element(By.ID, "status").aria_role == "status"
