"""From an export to agreement through a real Label Studio server, and the page as a rater sees it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import release_rows
from chromium import browser, look, screenshot, wait
from command_line import Said, say
from label_studio_sdk import LabelStudio
from label_studio_server import LEAD, PASSWORD, TOKEN, LabelStudioServer, Member, running
from scipy import stats

pytestmark = pytest.mark.slow
RATERS = ("ann", "bo", "cy")
HOSTILE = "<script>document.title='run'</script> & <b>bold</b> {{7*7}} ${history} $rationale {% x %} =1+1"
LONG = "A long review. " * 1_400  # 21,000 characters


@pytest.fixture(scope="session")
def server() -> Iterator[LabelStudioServer]:
    with running() as started:
        yield started


@pytest.fixture
def client(server: LabelStudioServer) -> Iterator[Callable[[str], LabelStudio]]:
    """A client for a token, whose connections end with the test."""
    with ExitStack() as stack:

        def opened(token: str) -> LabelStudio:
            connections = stack.enter_context(httpx.Client(timeout=120))
            return LabelStudio(base_url=server.url, api_key=token, httpx_client=connections)

        yield opened


@dataclass(frozen=True)
class Work:
    """An export that was pushed, and who rates it."""

    run: Path
    members: dict[str, Member]
    projects: dict[str, int]

    @property
    def folder(self) -> Path:
        return self.run / "annotation" / "coherence"

    def key(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "round-1" / "key.json").read_text()))


def hostile_run(folder: Path) -> Path:
    """A run whose reviews, titles and rationales would be markup where they are taken for it."""
    rows = release_rows.rows(6)
    rows["capo", "train"] = [
        release_rows.capo_row(user, (1 + user % 7, (user * 3) % 7 + 1, 1 + user % 2)) for user in range(20)
    ]
    for row in rows["capo", "train"]:
        row["history"][0]["review"] = HOSTILE
        row["history"][1]["review"] = LONG
        row["chosen"]["rationale"] += HOSTILE
    release_rows.build(folder, rows)
    return folder


def told(token: str, *arguments: object, code: int = 0) -> dict[str, Any]:
    said = asked(token, *arguments, "--json")
    assert said.code == code, said.out + said.err
    return dict(json.loads(said.out))


def asked(token: str, *arguments: object) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_API_KEY", token)
        said = say(*arguments)
    assert token not in said.out + said.err
    return said


@pytest.fixture(scope="session")
def work(server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Work:
    run = hostile_run(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPO_DATA_SALT", "a salt for tests")
        said = say("annotate", "export", run, "--raters", "ann,bo,cy", "--rows", 40, "--repeat", 3)
    assert said.code == 0, said.err
    pushed = told(TOKEN, "annotate", "push", run, "--url", server.url)["rounds"]["1"]
    assert [(one["rater"], one["created"], one["added"]) for one in pushed] == [(r, True, 43) for r in RATERS]
    members = {name: server.sign_up(f"{name}@example.com") for name in RATERS}
    return Work(run, members, {one["rater"]: one["project"] for one in pushed})


def result(score: int, comment: str = "") -> list[dict[str, Any]]:
    """What the page sends."""
    found: list[dict[str, Any]] = [
        {"from_name": "rating", "to_name": "rationale", "type": "choices", "value": {"choices": [str(score)]}}
    ]
    if comment:
        found.append(
            {"from_name": "comment", "to_name": "rationale", "type": "textarea", "value": {"text": [comment]}}
        )
    return found


def score_of(rater: str, item: str) -> int:
    """A rater's opinion, the same each time."""
    return 1 + (sum(map(ord, item)) + 2 * RATERS.index(rater)) % 7


def test_a_rater_sees_texts_in_the_order_of_the_folder_and_nothing_else(work: Work, client) -> None:
    for rater in RATERS:
        own = client(work.members[rater].access)
        tasks = sorted(own.tasks.list(project=work.projects[rater]), key=lambda one: one.id)
        written = json.loads((work.folder / "round-1" / "raters" / rater / "tasks.json").read_text())
        assert [one.data for one in tasks] == [one["data"] for one in written]
        assert all(not one.meta and not one.predictions for one in tasks)
        project = own.projects.get(id=work.projects[rater])
        assert "very strong" in (project.expert_instruction or "")


def test_pushing_again_adds_nothing_and_mends_what_is_lacking(work: Work, server, client) -> None:
    lead = client(TOKEN)
    count = len(list(lead.projects.list()))
    lost = next(iter(lead.tasks.list(project=work.projects["bo"])))
    lead.tasks.delete(id=str(lost.id))
    # Another kind of token, of another member.
    pushed = told(work.members["ann"].access, "annotate", "push", work.run)["rounds"]["1"]
    assert [(one["created"], one["added"]) for one in pushed] == [(False, 0), (False, 1), (False, 0)]
    assert len(list(lead.projects.list())) == count


def test_from_ratings_to_agreement(work: Work, server, client, tmp_path: Path) -> None:
    known = {one["task"]: one for one in work.key()["tasks"]}
    left: list[tuple[LabelStudio, int, int]] = []
    for rater in RATERS:
        own = client(work.members[rater].legacy)
        for at, task in enumerate(own.tasks.list(project=work.projects[rater])):
            one = known[task.data["capo_id"]]
            score = score_of(rater, one["item"])
            if rater == "ann" and at == 0:
                own.annotations.create(id=task.id, result=[], was_cancelled=True)
                left.append((own, task.id, score))
            elif rater == "bo" and at == 0:
                httpx.post(
                    f"{server.url}/api/tasks/{task.id}/drafts",
                    headers={"Authorization": f"Token {work.members[rater].legacy}"},
                    json={"result": result(score), "lead_time": 1.0},
                    timeout=120,
                ).raise_for_status()
                left.append((own, task.id, score))
            elif rater == "cy" and at == 0:
                left.append((own, task.id, score))
            else:
                own.annotations.create(id=task.id, result=result(score, "=1+1" if at == 1 else ""))

    progress = {one["rater"]: one for one in told(TOKEN, "annotate", "status", work.run)["raters"]}
    assert [(progress[r]["rated"], progress[r]["skipped"], progress[r]["draft"]) for r in RATERS] == [
        (42, 1, 0),
        (42, 0, 1),
        (42, 0, 0),
    ]
    assert progress["cy"]["left"] == 1
    assert "ann" in asked(TOKEN, "annotate", "status", work.run).out

    partly = told(TOKEN, "annotate", "pull", work.run, code=3)
    counts = {kind: found["count"] for kind, found in partly["problems"].items()}
    assert counts == {"skipped": 1, "draft": 1, "missing": 1}
    assert told(TOKEN, "annotate", "pull", work.run, "--allow-partial")["rated"] == 126
    agreed = told(TOKEN, "agree", "--human", work.folder / "ratings.csv", code=3)
    assert {kind: found["count"] for kind, found in agreed["problems"].items()} == counts

    for own, task, score in left:
        own.annotations.create(id=task, result=result(score))
    done = told(TOKEN, "annotate", "pull", work.run)
    assert (done["rated"], done["complete"]) == (129, True)
    checked(work, tmp_path, client)


def checked(work: Work, folder: Path, client: Callable[[str], LabelStudio]) -> None:
    """`agree` finds what was entered, from `ratings.csv` alone; files give the same as the server."""
    ratings = work.folder / "ratings.csv"
    found = told(TOKEN, "agree", "--human", ratings, "--draws", 200)
    assert (found["items"], found["ratings"], found["judged"]) == (40, 120, 40)
    items = work.key()["items"]
    human = [np.mean([score_of(rater, one["item"]) for rater in RATERS]) for one in items]
    expected = stats.spearmanr([one["judge"] for one in items], human).statistic
    assert found["judge"]["mean"]["spearman"]["value"] == pytest.approx(expected, abs=1e-12)
    assert {name: one["exact"]["value"] for name, one in found["self_consistency"].items()} == dict.fromkeys(
        RATERS, 1.0
    )
    with ratings.open(newline="") as file:
        comments = [row["comment"] for row in csv.DictReader(file) if row["comment"]]
    assert comments == ["'=1+1"] * 3

    before = ratings.read_text()
    lead = client(TOKEN)
    for kind, ending in (("JSON", "json"), ("JSON_MIN", "json"), ("CSV", "csv")):
        files: list[object] = []
        for rater in RATERS:
            file = folder / f"{kind}-{rater}.{ending}"
            parts = lead.projects.exports.download_sync(id=work.projects[rater], export_type=kind)
            file.write_bytes(b"".join(parts))
            files += ["--file", file]
        told("no token", "annotate", "pull", work.run, *files)
        assert ratings.read_text() == before, kind


def test_what_a_server_may_answer_is_told(work: Work, server) -> None:
    wrong = told("0" * 40, "annotate", "status", work.run, code=1)
    assert (wrong["what"], wrong["where"]) == ("Label Studio refuses the token", server.url)
    path = told(TOKEN, "annotate", "status", work.run, "--url", f"{server.url}/projects", code=1)
    assert path["what"] == "the server does not answer as Label Studio does"


def log_in(driver: Any, url: str) -> None:
    driver.get(f"{url}/user/login")
    wait(driver, "document.querySelector('[name=password]') !== null")
    driver.execute_script(
        "document.querySelector('[name=email]').value = arguments[0];"
        "document.querySelector('[name=password]').value = arguments[1];"
        "document.querySelector('form').submit()",
        LEAD,
        PASSWORD,
    )
    wait(driver, "!location.pathname.includes('login')")


def test_the_page_shows_texts_as_written_and_takes_keys(work: Work, server, client, tmp_path: Path) -> None:
    lead = client(TOKEN)
    chosen = {one["task"] for one in work.key()["tasks"] if one["item"].endswith(":chosen")}
    project = work.projects["cy"]
    task = next(one for one in lead.tasks.list(project=project) if one.data["capo_id"] in chosen)
    for rated in task.annotations or []:  # by a test before this one
        lead.annotations.delete(id=rated["id"])
    with browser(tmp_path / "profile") as driver:
        log_in(driver, server.url)
        look(driver, 1300, 1100)
        driver.get(f"{server.url}/projects/{project}/data?task={task.id}")
        page = "document.querySelector('.lsf-main-content, .lsf-wrapper')"
        wait(driver, f"document.querySelector('.lsf-choices') && {page}?.innerText")
        shown = str(driver.execute_script(f"return {page}.innerText"))
        assert HOSTILE in shown
        assert " ".join(LONG.split()) in " ".join(shown.split())
        assert task.data["rationale"] in shown
        assert driver.title != "run"
        for words in ("1. Blue lamp 0", "rated Excellent", "1: very weak", "7: very strong", "Comment"):
            assert words in shown
        for secret in ("hard_rejected", "chosen", "easy_rejected"):
            assert secret not in shown
        ticked = "[...document.querySelectorAll('.lsf-choices input')].map(one => one.checked).indexOf(true)"
        assert driver.execute_script(f"return {ticked}") == -1
        driver.switch_to.active_element.send_keys("5")
        wait(driver, f"{ticked} === 4")
        screenshot(driver, tmp_path / "page.png")
