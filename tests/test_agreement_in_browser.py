"""`agreement.html` in headless Chromium: nothing to complain of, on a phone, on paper."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from chromium import browser, complaints, look, requests
from test_agreement_page import rated

import capo_data

pytestmark = pytest.mark.slow


def test_it_opens_on_any_screen_and_shows_texts_as_text(tmp_path: Path) -> None:
    dataset, ratings = rated(tmp_path)
    capo_data.agree(str(ratings), run=dataset, out=tmp_path / "out", draws=20)
    with browser(tmp_path / "profile") as driver:
        look(driver)
        driver.get((tmp_path / "out" / "agreement.html").as_uri())
        text = driver.execute_script("return document.body.textContent")
        assert "<script>alert(1)</script> {{ 7*7 }} ⟨U+202E⟩ =1+1" in text
        for width, dark in ((1200, True), (390, True), (390, False)):
            look(driver, width, dark=dark)
            shown = driver.execute_script(
                "return [...document.querySelectorAll('figure img')]"
                ".filter((one) => one.offsetWidth).map((one) => one.className)"
            )
            assert shown == ["on-dark" if dark else "on-light"] * 3
            assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
        assert len(base64.b64decode(printed)) > 20_000
        assert complaints(driver) == []
        assert requests(driver) == []
