"""Chromium, for tests of what a person sees of the console."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.support.needed import needed
from tests.support.waiting import eventually

PHONE, TABLET, DESK = WIDTHS = 390, 1024, 1440
"""Widths of a window, in CSS pixels."""
_HEIGHT = 800
_LOADING_SECONDS = 100
_OVERFLOW = "return document.documentElement.scrollWidth - arguments[0]"
# In one step: while a page gives way to the next, an element that was found is gone.
_SHOWN = "return document.querySelector(arguments[0])?.innerText ?? ''"
# What chromedriver says, without an exception of its own, of an element whose page has just given way to the next.
_GONE = "does not belong to the document"
_ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    # The proxy of this machine's network does not know the servers of the tests.
    "--no-proxy-server",
)

_DRIVERS: dict[str, Chrome] = {}


@dataclass(frozen=True)
class Browser:
    """One window on one program."""

    driver: Chrome
    origin: str
    width: int

    def open(self, path: str) -> None:
        """Load a page."""
        self.driver.get(f"{self.origin}{path}")

    @property
    def path(self) -> str:
        """Where it is."""
        return self.driver.current_url.removeprefix(self.origin)

    @property
    def text(self) -> str:
        """What the page shows, without what is hidden."""
        return self.text_of("body")

    def text_of(self, selector: str) -> str:
        """What the first such element shows; nothing where the page has none."""
        return str(self.script(_SHOWN, selector))

    def wait_for(self, words: str, selector: str = "main") -> None:
        """Return once an element shows these words: after a click the next page takes a moment."""
        eventually(lambda: words in self.text_of(selector), f"{words!r} in {selector}")

    def find(self, selector: str) -> WebElement:
        """The first element that a CSS selector chooses, once it is there."""
        found = eventually(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector), selector)
        element: WebElement = found[0]
        return element

    def has(self, selector: str) -> bool:
        """Whether the page has such an element now."""
        return bool(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def follow(self, words: str) -> None:
        """Click the link with these words, once it is there."""
        eventually(lambda: self._was_clicked(By.LINK_TEXT, words), words)

    def press(self, words: str) -> None:
        """Click the button with these words, once it is there: after a click the next page takes a moment."""
        eventually(lambda: self._was_clicked(By.XPATH, f"//button[normalize-space()='{words}']"), words)

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector chooses, once it is there."""
        eventually(lambda: self._was_clicked(By.CSS_SELECTOR, selector), selector)

    def _was_clicked(self, by: str, what: str) -> bool:
        found = self.driver.find_elements(by, what)
        # A refresh may put another element in its place before the click.
        try:
            for element in found[:1]:
                element.click()
                return True
        except WebDriverException as error:
            if not isinstance(error, StaleElementReferenceException) and _GONE not in str(error.msg):
                raise
        return False

    def type(self, name: str, text: str) -> WebElement:
        """Type into the field of the page's content with this name, in place of what it held."""
        field = self.find(f"main [name={name}]")
        field.clear()
        field.send_keys(text)
        return field

    def script(self, code: str, *arguments: object) -> Any:
        """What a function body of JavaScript returns in the page."""
        return self.driver.execute_script(code, *arguments)

    @property
    def overflow(self) -> int:
        """How many pixels of the page lie beside the window."""
        return int(self.script(_OVERFLOW, self.width))

    def faults(self) -> list[str]:
        """What the browser has complained about since the last call: what it could not load, or was not let do."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves this one without types
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def refresh_often(self) -> None:
        """Refresh every second what is refreshed every 10 s, from the next page on."""
        sooner = "(call, ms, ...more) => real(call, ms === 10000 ? 1000 : ms, ...more)"
        code = f"const real = setTimeout; window.setTimeout = {sooner}"
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": code})

    def run_no_scripts(self) -> None:
        """From the next page on, be a browser whose JavaScript is switched off."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})

    def save_picture(self, file: Path, height: int | None = None) -> None:
        """Save what the page looks like, as PNG: all of it, or so many pixels of its height."""
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = int(self.script("return document.documentElement.scrollHeight"))
        self.resize(height or max(_HEIGHT, whole))
        assert self.driver.save_screenshot(str(file))
        self.resize()

    def at(self, width: int) -> "Browser":
        """The same page in a window of another width."""
        other = replace(self, width=width)
        other.resize()
        return other

    def prefer(self, scheme: str, medium: str = "screen") -> None:
        """Have the system be `light` or `dark`, and the page on a screen, or in `print`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    def connect(self, *, online: bool) -> None:
        """Cut the window's network off, or give it back."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": not online, **speed})

    def resize(self, height: int = _HEIGHT) -> None:
        """Have the window show so many pixels of the page's height. A real window may not be as narrow as a phone."""
        screen = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def needed_browser() -> tuple[str, str]:
    """The paths of Chromium and its driver (Debian: chromium, chromium-driver and fonts-noto-cjk)."""
    return needed("chromium"), needed("chromedriver")


@contextmanager
def chromium(origin: str, *, language: str = "zh-CN", width: int = DESK) -> Iterator[Browser]:
    """A window of this width, without cookies, whose reader prefers a language.

    Needs Chromium and its driver, which runs on until `close_browsers`.
    """
    driver = _DRIVERS[language] = _DRIVERS.get(language) or _start(language)
    first = driver.current_window_handle
    # What a page keeps for its tab, and how a test has changed the tab, ends with it.
    driver.switch_to.new_window("tab")
    browser = Browser(driver, origin, width)
    try:
        browser.resize()
        yield browser
    finally:
        for command in ("Network.clearBrowserCookies", "Browser.resetPermissions"):
            driver.execute_cdp_cmd(command, {})
        browser.faults()
        driver.close()
        driver.switch_to.window(first)


def close_browsers() -> None:
    """End what `chromium` has started."""
    while _DRIVERS:
        _DRIVERS.popitem()[1].quit()


def _start(language: str) -> Chrome:
    browser_path, driver_path = needed_browser()
    options = ChromeOptions()
    options.binary_location = browser_path
    for argument in (*_ARGUMENTS, f"--window-size={DESK},{_HEIGHT}", f"--lang={language}"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        # Its sandbox does not work for root.
        options.add_argument("--no-sandbox")
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with pytest.MonkeyPatch.context() as patched:
        # selenium reaches the driver over HTTP, and would use the proxy of this machine's network.
        patched.setenv("no_proxy", "*")
        # With its path given, selenium looks for no driver to download.
        driver = Chrome(options=options, service=Service(driver_path))
    driver.set_page_load_timeout(_LOADING_SECONDS)
    driver.set_script_timeout(_LOADING_SECONDS)
    return driver
