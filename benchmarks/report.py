"""How large a report's page is and how long it takes to make and to use, by the number of triplets.

    python benchmarks/report.py [--rows 50000] [--save]

The rows are written here: histories of 3 to 20 entries with reviews of 300 characters, three rationales of
about 600 characters, drawn from thousands of texts in a made-up language, which compression
sees as new. Made in a process of its own; used in headless Chromium through chromedriver.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from table import conditions, save, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

LIMIT = 50.0  # MB
ITEMS = 20_000
SYLLABLES = [a + b + c for a in "bdfgklmnprstv" for b in "aeiou" for c in ("", "n", "r", "s", "l")]


def lexicon(draw: random.Random) -> list[str]:
    """20,000 words, of which the first are used most."""
    return ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 3))) for _ in range(20_000)]


def prose(draw: random.Random, words: list[str], characters: int) -> str:
    """Text by a law like Zipf's."""
    picked = [words[min(int(draw.paretovariate(0.7)), len(words)) - 1] for _ in range(characters // 5)]
    return " ".join(picked)[:characters]


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Valid `capo` rows."""
    from release_rows import answer

    draw = random.Random(7)
    words = lexicon(draw)
    items = [
        {"item_id": f"B{n:09d}", "title": prose(draw, words, 70), "description": prose(draw, words, 300)}
        for n in range(ITEMS)
    ]
    reviews = [prose(draw, words, 300) for _ in range(10_000)]
    rationales = [prose(draw, words, 600) for _ in range(5_000)]
    for user in range(count):
        shown = draw.sample(items, draw.randint(3, 20))
        candidates = [{name: one[name] for name in ("item_id", "title")} for one in draw.sample(items, 30)]
        scores = (draw.randint(1, 7), *sorted(draw.sample(range(1, 8), 2), reverse=True))
        told = [
            {**answer(one, score), "rationale": draw.choice(rationales)}
            for one, score in zip(candidates, scores, strict=False)
        ]
        yield {
            "id": f"big-{user:08d}",
            "domain": "big",
            "user": f"u{user:08d}",
            "history": [
                {
                    **one,
                    "details": None,
                    "rating": "Good",
                    "rating_value": 4.0,
                    "review": draw.choice(reviews),
                    "timestamp": 1_600_000_000_000 + 86_400_000 * at,
                }
                for at, one in enumerate(shown)
            ],
            "history_untitled": 0,
            "history_cut": 0,
            "candidates": candidates,
            "target_index": 0,
            "history_spans": [],
            "prompt": [{"role": "user", "content": "left out here"}],
            "chosen": told[0],
            "hard_rejected": told[1],
            "easy_rejected": told[2],
            "more_rejected": [],
            "conflict": scores[1] > scores[0],
            "order_by": "score",
        }


def dataset(folder: Path, count: int) -> Path:
    """A dataset of so many triplets, without card and held-out rows."""
    import pyarrow.parquet as pq

    from capo_data.release.schema import schema
    from capo_data.release.schema import table as of

    writers = {}
    for config in ("capo", "sft"):
        (folder / config).mkdir(parents=True)
        writers[config] = pq.ParquetWriter(folder / config / "train-00000-of-00001.parquet", schema(config))
    held: list[dict[str, Any]] = []
    for number, row in enumerate(rows(count), 1):
        held.append(row)
        if len(held) == 500 or number == count:
            writers["capo"].write_table(of("capo", held))
            writers["sft"].write_table(of("sft", [{**one, "completion": []} for one in held]))
            held = []
    for writer in writers.values():
        writer.close()
    return folder


MAKE = """
import json, resource, sys, time
import capo_data
before = time.perf_counter()
done = capo_data.report(sys.argv[1], out=sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({**done.as_dict(), "seconds": time.perf_counter() - before, "peak": peak}))
"""


def made(source: Path, out: Path) -> dict[str, Any]:
    """The page, made in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MAKE, source, out], check=True, stdout=subprocess.PIPE, text=True
    )
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def used(page: str) -> dict[str, float]:
    """Seconds until the page can be used, a filter has worked, a row is open, and every text is searched."""
    from chromium import browser, look, wait

    found, opened = "document.getElementById('found').textContent", "details.dataset.filled"
    change = (
        "const field = document.forms.filters.elements[arguments[0]]; field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}));"
        "document.getElementById('found').textContent = ''"
    )
    seconds = {}
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as driver:
        look(driver)

        def timed(name: str, act: Any, condition: str) -> None:
            before = time.perf_counter()
            act()
            wait(driver, condition)
            seconds[name] = time.perf_counter() - before

        timed(
            "open", lambda: driver.get(Path(page).as_uri()), "document.getElementById('rows').dataset.ready"
        )
        timed("filter", lambda: driver.execute_script(change, "conflict", "above"), f"/rows$/.test({found})")
        click = (
            "window.details = document.querySelector('details.row'); details.querySelector('summary').click()"
        )
        timed("row", lambda: driver.execute_script(click), opened)
        driver.execute_script(change, "conflict", "")
        wait(driver, f"/rows$/.test({found})")
        timed(
            "search", lambda: driver.execute_script(change, "text", "no such words"), f"/rows$/.test({found})"
        )
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/report.md")
    options = parser.parse_args()
    lines = []
    for count in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            done = made(dataset(Path(folder) / "dataset", count), Path(folder) / "out")
            use = used(done["page"])
        lines.append(
            [
                f"{count:,}",
                f"{done['rows_shown']:,}",
                f"{done['bytes'] / 1e6:.1f}",
                f"{done['seconds']:.0f}",
                f"{done['peak']:,.0f}",
                *(f"{use[name]:.2f}" for name in ("open", "filter", "row", "search")),
            ]
        )
    header = [
        "triplets",
        "on the page",
        "MB",
        "made in s",
        "peak MiB",
        "open s",
        "filter s",
        "row s",
        "search s",
    ]
    text = table(header, lines) + (
        f"\nAim: under {LIMIT:.0f} MB. Search goes through every text of every row on the page.\n\n"
        + conditions("matplotlib", "jinja2")
    )
    print(text)
    if options.save:
        save("report", "Report", text)


if __name__ == "__main__":
    main()
