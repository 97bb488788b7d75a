"""Headless Chromium, as the tests of pages use it."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BINARIES = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "chromedriver": ("chromedriver",)}
# As few processes and requests of its own as can be.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
PATIENCE = 120  # seconds; nothing is expected to take them


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A driver; the test is skipped, with the reason, where there is no Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    found = {name: next(filter(None, map(shutil.which, names)), None) for name, names in BINARIES.items()}
    if absent := [name for name, path in found.items() if path is None]:
        pytest.skip(f"no {' and no '.join(absent)} on this machine: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found["chromium"]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(
        options=options,
        service=webdriver.ChromeService(found["chromedriver"], env={**os.environ, "HOME": str(profile)}),
    )
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    try:
        yield driver
    finally:
        driver.quit()


def look(driver: Any, width: int = 1200, height: int = 900, *, dark: bool = False) -> None:
    """From here on the page is seen on a screen like this."""
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def wait(driver: Any, condition: str) -> None:
    """Until an expression of JavaScript is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, PATIENCE, poll_frequency=0.1).until(
        lambda seen: seen.execute_script(f"return Boolean({condition})"), message=condition
    )


def complaints(driver: Any) -> list[str]:
    """What the browser has said so far: errors of scripts, breaches of the page's policy."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver: Any) -> list[str]:
    """Addresses on a network that were asked for; what lies in files and in the page is left aside."""
    import json

    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith(("file:", "data:", "blob:", "chrome:", "about:"))]


def screenshot(driver: Any, path: Path) -> None:
    """What is on the screen."""
    seen = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    path.write_bytes(base64.b64decode(seen["data"]))
