"""The report as people use it: opened in headless Chromium, filtered, a row opened, on a phone, printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import release_rows
from builds import capo_data as run
from chromium import browser, complaints, look, requests, wait
from real_data import real_data
from test_report import FORMULA, HTML, LONG, nasty_rows

import capo_data

pytestmark = pytest.mark.slow

READY = "document.getElementById('rows').dataset.ready"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def opened(driver: Any, page: Path) -> None:
    complaints(driver), requests(driver)  # what came before is not this page's
    look(driver)
    driver.get(page.as_uri())
    wait(driver, READY)


def found(driver: Any) -> str:
    return str(driver.execute_script("return document.getElementById('found').textContent"))


def settle(driver: Any, name: str, value: str, expected: str) -> None:
    """Fills in a filter as a person does, and waits for what is found."""
    driver.execute_script(
        "const field = document.forms.filters.elements[arguments[0]]; field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}))",
        name,
        value,
    )
    wait(driver, f"document.getElementById('found').textContent === '{expected}'")


def open_row(driver: Any, number: int = 0) -> str:
    """Opens a row of the list and gives its text."""
    driver.execute_script(
        "document.querySelectorAll('#list > li > details > summary')[arguments[0]].click()", number
    )
    row = f"document.querySelectorAll('details.row')[{number}]"
    wait(driver, f"{row}.dataset.filled")
    return str(driver.execute_script(f"return {row}.innerText"))


def holds_its_width(driver: Any) -> bool:
    return bool(driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))


def report_of(domain: str, folder: Path, *more: object) -> Path:
    """Builds a run and its report with the command line."""
    built = run("build", "--domain", domain, *more, "--out", folder / domain)
    assert built.returncode == 0, built.stderr
    done = run("report", folder / domain)
    assert done.returncode == 0, done.stderr
    return folder / domain / "report" / "report.html"


def test_the_demo_opens_filters_and_shows_a_row(driver: Any, tmp_path: Path) -> None:
    page = report_of("demo", tmp_path)
    opened(driver, page)
    assert found(driver) == "281 of 281 rows"
    settle(driver, "conflict", "above", "136 of 281 rows")
    settle(driver, "role", "1", "136 of 281 rows")
    settle(driver, "low", "7", "9 of 281 rows")
    row = open_row(driver)
    assert "Chosen: " in row
    assert "Hard rejected: 7" in row
    assert "History (" in row
    look(driver, 390, 844, dark=True)
    assert holds_its_width(driver)
    assert complaints(driver) == []
    assert requests(driver) == []


def test_beauty_opens_filters_and_shows_a_row(driver: Any, tmp_path: Path) -> None:
    source = real_data("all_beauty_5core_2023")
    opened(driver, report_of("beauty", tmp_path, "--source", source, "--judge", "lexical"))
    settle(driver, "conflict", "none", "53 of 171 rows")
    settle(driver, "text", "no such words anywhere", "0 of 171 rows")
    driver.execute_script("document.querySelector('#filters button[type=reset]').click()")
    wait(driver, "document.getElementById('found').textContent === '171 of 171 rows'")
    settle(driver, "text", "MASCARA", driver_count(driver, "mascara"))
    assert "mascara" in open_row(driver).lower()
    look(driver, 390, 844)
    assert holds_its_width(driver)
    assert complaints(driver) == []
    assert requests(driver) == []


def driver_count(driver: Any, text: str) -> str:
    """What a search should find, counted from the packed rows by a second way: every text of a row."""
    script = """
        const done = arguments[1], wanted = arguments[0];
        (async () => {
          const index = await unpack(document.getElementById('index'));
          const parts = await Promise.all([...document.querySelectorAll('script.rows')].map(unpack));
          let count = 0;
          for (const part of parts) for (let at = 0; at < part.user.length; at++) {
            const titles = [...part.history[at], ...part.answers[at].map((one) => one.item)];
            const texts = [...titles.map((item) => index.title[item]), ...part.review[at],
                           ...part.answers[at].map((one) => one.rationale)];
            if (texts.join('\\n').toLowerCase().includes(wanted)) count++;
          }
          done(`${count} of ${index.id.length} rows`);
        })();"""
    return str(driver.execute_async_script(script, text))


def test_texts_that_want_to_be_more_are_shown_as_text(driver: Any, tmp_path: Path) -> None:
    dataset = release_rows.build(tmp_path, nasty_rows())
    opened(driver, capo_data.report(dataset, out=tmp_path / "report").page)
    rows = [open_row(driver, number) for number in range(4)]
    assert HTML in rows[0]
    assert FORMULA in rows[1]
    assert "left ⟨U+202E⟩ right ⟨U+0007⟩" in rows[2]
    assert LONG.strip() in rows[3]
    made = "return document.querySelectorAll('#rows img, #rows script:not([type]), #rows a').length"
    assert driver.execute_script(made) == 0
    for width in (390, 1200):
        look(driver, width)
        assert holds_its_width(driver)
    assert complaints(driver) == []


def test_a_page_whose_script_was_changed_does_not_run_it(driver: Any, tmp_path: Path) -> None:
    dataset = release_rows.build(tmp_path)
    page = capo_data.report(dataset, out=tmp_path / "report").page
    text = page.read_text().replace("</body>", "<script>document.title = 'changed'</script></body>")
    page.write_text(text)
    opened(driver, page)
    assert driver.title != "changed"
    assert any("Content Security Policy" in said for said in complaints(driver))


def test_the_keyboard_alone_opens_a_row_and_turns_the_page(driver: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    dataset = release_rows.build(tmp_path, release_rows.rows(45))
    opened(driver, capo_data.report(dataset, out=tmp_path / "report").page)
    driver.execute_script("document.querySelector('#list summary').focus()")
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    wait(driver, "document.querySelector('details.row').dataset.filled")
    driver.execute_script("document.getElementById('next').focus()")
    driver.switch_to.active_element.send_keys(Keys.SPACE)
    wait(driver, "document.getElementById('where').textContent === 'page 2 of 2'")
    assert driver.execute_script("return document.activeElement.tagName") == "SUMMARY"


def test_two_runs_side_by_side(driver: Any, tmp_path: Path) -> None:
    given = release_rows.rows(6)
    given["capo", "train"][0]["chosen"] |= {"score": 7, "rationale": "Another judge wrote this."}
    given["capo", "train"].pop()
    first = release_rows.build(tmp_path / "first")
    other = release_rows.build(tmp_path / "other", given)
    opened(driver, capo_data.report(first, against=other, out=tmp_path / "report").page)
    settle(driver, "differs", "1", "2 of 4 rows")
    assert "Another judge wrote this." in open_row(driver, 0)
    assert "no such row there" in open_row(driver, 1)
    assert driver.execute_script("return document.querySelectorAll('.pair h3').length") == 6
    assert (tmp_path / "report" / "figures" / "conflicts-against.svg").is_file()


def test_it_prints(tmp_path: Path, driver: Any) -> None:
    dataset = release_rows.build(tmp_path)
    opened(driver, capo_data.report(dataset, out=tmp_path / "report").page)
    look(driver, dark=True)
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    assert len(printed) > 20_000
