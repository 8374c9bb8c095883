"""A headless Chromium, and the colour page opened in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.wait import WebDriverWait

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Debian's Chromium with a profile of its own; the same window for all tests. Its calls block."""
    if not Path("/usr/bin/chromedriver").exists():
        pytest.fail("these tests need Chromium: install the packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in _FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    driver = webdriver.Chrome(options=options, service=Service(executable_path="/usr/bin/chromedriver"))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


class Page:
    """The page in the browser. Every method blocks, so it is called in a thread."""

    def __init__(self, chromium: webdriver.Chrome, url: str, language: str = "ko") -> None:
        self.chromium = chromium
        self.wait = WebDriverWait(chromium, 60)
        chromium.get_log("browser")  # what earlier pages left there
        chromium.get(f"{url}/?lang={language}")

    def type(self, name: str) -> None:
        self.chromium.find_element(By.ID, "user_name").send_keys(name)

    def rename(self, name: str) -> None:
        """Type another name in place of the one that is there."""
        self.chromium.find_element(By.ID, "user_name").clear()
        self.type(name)

    def click(self, color: str) -> None:
        self.chromium.find_element(By.CSS_SELECTOR, f"button[data-color={color}]").click()

    def alert(self) -> str:
        """Text of the alert that is open, and close it."""
        alert = self.wait.until(until.alert_is_present())
        text = str(alert.text)
        alert.accept()
        return text

    def outcome(self) -> tuple[str, str]:
        """Kind and text of the status line once there is one."""
        line = self.chromium.find_element(By.ID, "status")
        self.wait.until(lambda _: line.get_attribute("data-kind"))
        return str(line.get_attribute("data-kind")), line.text

    def sent(self) -> list[str]:
        """The names in the list of what was sent, newest first."""
        return [item.text for item in self.chromium.find_elements(By.CSS_SELECTOR, "#sent .who")]

    def steps(self) -> list[str]:
        """Where the newest event was found so far."""
        script = """return [...document.querySelectorAll("#sent > li:first-child .found")]
            .map((item) => item.innerText.replace(/\\s+/g, " "))"""
        return list(self.chromium.execute_script(script))

    def complaints(self) -> list[dict[str, object]]:
        """What the browser's console says, such as a breach of the content security policy."""
        return self.chromium.get_log("browser")


@pytest.fixture
def open_page(chromium: webdriver.Chrome) -> Callable[..., Page]:
    """``open_page(url, language="ko")`` of a collector. Blocks."""
    return lambda url, language="ko": Page(chromium, url, language)
