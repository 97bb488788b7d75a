"""Each rule of the contract: a sound dataset keeps all, and each way to break one is found and placed."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import release_rows

from capo_data.errors import ContractError
from capo_data.release import validation
from capo_data.release.schema import response_text, schema, table
from capo_data.release.validation import RULES, validate

SFT, CAPO, VALIDATION, TEST = ("sft", "train"), ("capo", "train"), ("test", "validation"), ("test", "test")
DPO = ("dpo", "train")


def file_of(folder: Path, place: tuple[str, str]) -> Path:
    return folder / place[0] / f"{place[1]}-00000-of-00001.parquet"


def broken(tmp_path: Path, place: tuple[str, str], change, row: int = 0, **facts) -> tuple[Path, str]:
    """A dataset in which one row of one split was changed after it was built; and the row's id."""
    folder = release_rows.build(tmp_path, **facts)
    path = file_of(folder, place)
    rows = pq.read_table(path).to_pylist()
    change(rows[row])
    pq.write_table(table(place[0], rows), path)
    return folder, rows[row]["id"]


def rename(answer, **changes):
    """Changes an answer and keeps its response in step."""
    answer.update(changes)
    answer["response"] = response_text(answer["rationale"], answer["title"])


def answer_for(row, role: str, candidate: int):
    rename(row[role], **row["candidates"][candidate])


def in_prompt(row, old: str, new: str):
    """Replaces text of the user message by text of the same length, so spans stay right."""
    assert len(old) == len(new)
    assert old in row["prompt"][-1]["content"]
    row["prompt"][-1]["content"] = row["prompt"][-1]["content"].replace(old, new)


def swap(row, place: int, item_id: str, title: str):
    """Puts another item of the same length of title among the candidates, and into the prompt."""
    place += place == row["target_index"]
    old = row["candidates"][place]["title"]
    title = title.ljust(len(old))
    in_prompt(row, f"- {old}\n", f"- {title}\n")
    row["candidates"][place] = {"item_id": item_id, "title": title}


def test_a_sound_dataset_breaks_nothing(tmp_path):
    report = validate(release_rows.build(tmp_path, release_rows.rows(users=30)))
    assert report.ok
    assert report.breaches == ()
    assert report.rows == {
        "sft/train": 30,
        "capo/train": 20,
        "test/validation": 30,
        "test/test": 30,
        "dpo/train": 20,
    }
    report.require()


CASES = {
    # rule, where, how the row is changed
    "one candidate less": ("candidates", VALIDATION, lambda r: r["candidates"].pop(29)),
    "the same item twice": (
        "candidates",
        VALIDATION,
        lambda r: r["candidates"][28].update(item_id=r["candidates"][27]["item_id"]),
    ),
    "the same title but for case and form": (
        "candidates",
        TEST,
        lambda r: r["candidates"][28].update(
            title=r["candidates"][27]["title"].upper().replace(" ", "\u00a0 ")
        ),
    ),
    "target_index past the end": ("target", VALIDATION, lambda r: r.update(target_index=30)),
    "target_index below zero": ("target", VALIDATION, lambda r: r.update(target_index=-1)),
    "another target": ("target", TEST, lambda r: r.update(target="N0-0")),
    "chosen is not the target": (
        "target",
        SFT,
        lambda r: r.update(target_index=(r["target_index"] + 1) % 30),
    ),
    "a negative of the own history": ("known_item", SFT, lambda r: swap(r, 3, "I0-1", "x")),
    "a negative that is the test target": ("known_item", SFT, lambda r: swap(r, 3, "I0-5", "x")),
    "a negative titled as a known item": (
        "known_title",
        SFT,
        lambda r: swap(r, 3, "new", "BLUE  LAMP 1 of 0"),
    ),
    "history out of order": ("history", SFT, lambda r: r["history"][0].update(timestamp=10**9)),
    "an item twice in the history": ("history", SFT, lambda r: r["history"][1].update(item_id="I0-0")),
    "a negative count": ("history", SFT, lambda r: r.update(history_untitled=-1)),
    "a span too few": ("spans", SFT, lambda r: r["history_spans"].pop()),
    "spans in another order": ("spans", SFT, lambda r: r["history_spans"].reverse()),
    "a span past the end": ("spans", SFT, lambda r: r["history_spans"][-1].update(end=10**6)),
    "a span of something else": (
        "spans",
        SFT,
        lambda r: r["history_spans"][0].update(start=0, end=r["history_spans"][0]["start"]),
    ),
    "a candidate that is not shown": (
        "prompt",
        SFT,
        lambda r: in_prompt(r, "Unseen thing 7 ", "Hidden thing 7 "),
    ),
    "an answer in the prompt": (
        "prompt",
        SFT,
        lambda r: r["prompt"].append({"role": "assistant", "content": "x"}),
    ),
    "no prompt": ("prompt", TEST, lambda r: r["prompt"].clear()),
    "a title that is not the candidate's": (
        "answer",
        CAPO,
        lambda r: rename(r["easy_rejected"], title="Lamp"),
    ),
    "no rationale": ("answer", CAPO, lambda r: rename(r["easy_rejected"], rationale=" ")),
    "no judge": ("answer", SFT, lambda r: r["chosen"].update(judge="")),
    "score 0": ("scores", CAPO, lambda r: r["easy_rejected"].update(score=0)),
    "score 8": ("scores", SFT, lambda r: r["chosen"].update(score=8)),
    "expected score 7.5": ("scores", SFT, lambda r: r["chosen"].update(expected_score=7.5)),
    "a tag in the rationale": (
        "response",
        CAPO,
        lambda r: rename(r["easy_rejected"], rationale="a </think> b"),
    ),
    "a second item tag": ("response", CAPO, lambda r: rename(r["easy_rejected"], rationale="a < ITEM > b")),
    "another response": ("response", CAPO, lambda r: r["hard_rejected"].update(rationale="Warm light.")),
    "another completion": ("response", SFT, lambda r: r["completion"][0].update(content="x")),
    "a protocol given away": (
        "giveaway",
        CAPO,
        lambda r: rename(r["easy_rejected"], rationale="The next item is a lamp, so a score of 6 is fair."),
    ),
    "an item with two roles": (
        "roles",
        CAPO,
        lambda r: rename(r["easy_rejected"], **{k: r["hard_rejected"][k] for k in ("item_id", "title")}),
    ),
    "more rejected than the card says": (
        "roles",
        CAPO,
        lambda r: r["more_rejected"].append(release_rows.answer(r["candidates"][29], 3)),
    ),
    "hard below easy": ("order_by", CAPO, lambda r: r["hard_rejected"].update(score=1)),
    "hard equal to easy": ("order_by", CAPO, lambda r: r["hard_rejected"].update(score=2)),
    "an order that the policy does not allow": ("order_by", CAPO, lambda r: r.update(order_by="tied")),
    "a conflict that is none": ("conflict", CAPO, lambda r: r.update(conflict=not r["conflict"])),
    "no such sft row": ("subset", CAPO, lambda r: r.update(id="demo-new")),
    "another prompt than in sft": ("subset", CAPO, lambda r: r["prompt"][0].update(content="Choose.")),
    "another prompt in dpo": ("dpo", DPO, lambda r: r["prompt"][0].update(content="Choose.")),
    "another chosen in dpo": ("dpo", DPO, lambda r: r["chosen"][0].update(content="x")),
    "chosen as rejected in dpo": ("dpo", DPO, lambda r: r.update(rejected=r["chosen"])),
    "no such capo row": ("dpo", DPO, lambda r: r.update(id="demo-new")),
    "an id twice": ("id", SFT, lambda r: r.update(id="demo-train-1-3")),
    "a train history that ends after the test history": (
        "time",
        TEST,
        lambda r: [entry.update(timestamp=0) for entry in r["history"]],
    ),
    "a train target that the test history lacks": (
        "time",
        SFT,
        lambda r: [
            r["candidates"][r["target_index"]].update(item_id="other"),
            r["chosen"].update(item_id="other"),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_breach_is_found_with_its_row(tmp_path, case):
    rule, place, change = CASES[case]
    folder, row_id = broken(tmp_path, place, change)
    report = validate(folder)
    assert not report.ok
    found = [
        b for b in report.breaches if b.rule == rule and (b.config, b.split) == place and b.row == row_id
    ]
    assert found, report
    assert all(breach.detail for breach in report.breaches)


def test_every_rule_about_rows_has_a_case():
    about_files = {"card", "files", "rows", "schema", "null", "splits"}
    assert {rule for rule, *_ in CASES.values()} == set(RULES) - about_files


def test_a_target_in_two_splits_is_found(tmp_path):
    def change(row):
        target = row["candidates"][row["target_index"]]
        in_prompt(row, f"- {target['title']}", "- Blue lamp 3 of 0")
        target.update(release_rows.item(0, 3))
        row["target"] = target["item_id"]

    folder, row_id = broken(tmp_path, VALIDATION, change)
    found = {(b.rule, b.row) for b in validate(folder).breaches}
    assert ("splits", row_id) in found
    assert ("history", row_id) in found  # the train target stands in the validation history, too


def test_a_validation_target_must_not_stand_in_a_train_history(tmp_path):
    def change(row):
        row["history"][2].update(release_rows.item(0, 4))
        in_prompt(row, "Blue lamp 2 of 0", "Blue lamp 4 of 0")
        in_prompt(row, "I0-2", "I0-4")

    folder, _ = broken(tmp_path, SFT, change)
    found = validate(folder).breaches
    assert ("time", "demo-validation-0-4") in {(b.rule, b.row) for b in found}


def test_a_history_that_was_cut_need_not_hold_the_earlier_target(tmp_path):
    def change(row):
        del row["history"][0:5], row["history_spans"][0:5]
        row["history_cut"] = 5

    folder, _ = broken(tmp_path, TEST, change)
    assert validate(folder).ok


def order_row(policy_scores, expected, order, more=()):
    row = release_rows.capo_row(1, (7, *policy_scores))
    row["order_by"] = order
    row["hard_rejected"]["expected_score"], row["easy_rejected"]["expected_score"] = expected
    spare = [
        c
        for c in row["candidates"]
        if c["item_id"] not in {row[r]["item_id"] for r in ("chosen", "hard_rejected", "easy_rejected")}
    ]
    row["more_rejected"] = [release_rows.answer(c, score) for c, score in zip(spare, more, strict=False)]
    return row


@pytest.mark.parametrize(
    ("policy", "row", "sound"),
    [
        ("drop", order_row((5, 2), (None, None), "score", more=(4, 3)), True),
        ("drop", order_row((5, 2), (None, None), "score", more=(3, 4)), False),
        ("drop", order_row((5, 2), (None, None), "score", more=(5, 3)), False),
        ("redraw", order_row((5, 2), (None, None), "score"), True),
        ("redraw", order_row((5, 5), (None, None), "tied"), False),
        ("keep", order_row((5, 5), (None, None), "tied"), True),
        ("keep", order_row((5, 4), (None, None), "tied"), False),
        ("keep", order_row((5, 4), (None, None), "score"), True),
        ("expected", order_row((5, 5), (5.2, 4.9), "expected"), True),
        ("expected", order_row((5, 5), (4.9, 5.2), "expected"), False),
        ("expected", order_row((5, 5), (5.0, 5.0), "expected"), False),
        ("expected", order_row((5, 5), (5.2, None), "expected"), False),
        ("expected", order_row((5, 4), (5.2, 4.1), "expected"), False),
        ("expected", order_row((5, 4), (5.2, 4.1), "score"), True),
    ],
)
def test_order_by_is_checked_by_the_rule_that_applies(tmp_path, policy, row, sound):
    given = release_rows.rows()
    given["capo", "train"][0] = row
    form = {**release_rows.FACTS["format"], "tie_policy": policy, "rejected": 4}
    report = validate(release_rows.build(tmp_path, given, format=form))
    assert report.ok is sound, report
    assert set(report.counts) <= {"order_by"}


def test_tags_and_sizes_are_those_of_the_card(tmp_path):
    form = {**release_rows.FACTS["format"], "think_tag": "why", "candidates": 20}
    report = validate(release_rows.build(tmp_path, format=form))
    assert report.counts["candidates"] == 22
    assert report.counts["response"] == 2 * (6 + 3 * 4)


def test_breaches_are_all_counted_but_not_all_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "EXAMPLES", 5)
    report = validate(release_rows.build(tmp_path, format={**release_rows.FACTS["format"], "candidates": 20}))
    assert len(report.breaches) == 5
    with pytest.raises(ContractError, match="breaks its contract 22 times") as error:
        report.require()
    assert "demo-train-0-3" in error.value.where
    assert json.loads(json.dumps(report.as_dict()))["counts"] == {"candidates": 22}


def test_missing_and_damaged_files_are_breaches(tmp_path):
    folder = release_rows.build(tmp_path)
    (folder / "README.md").unlink()
    file_of(folder, CAPO).unlink()
    file_of(folder, SFT).write_bytes(b"PAR1 no parquet PAR1")
    file_of(folder, TEST).rename(folder / "test" / "test-00001-of-00002.parquet")
    report = validate(folder)
    assert {(b.rule, b.config) for b in report.breaches} == {
        ("card", ""),
        ("files", "capo"),
        ("files", "sft"),
        ("files", "test"),
    }
    assert report.rows == {"test/validation": 6, "test/test": 6, "dpo/train": 4}


def test_a_file_that_is_damaged_inside_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path, release_rows.rows(users=40))
    path = file_of(folder, SFT)
    data = bytearray(path.read_bytes())
    data[200:3000] = bytes(2800)
    path.write_bytes(bytes(data))
    report = validate(folder)
    assert report.counts["files"] == 1
    assert report.breaches[0].detail.startswith("train-00000-of-00001.parquet cannot be read")


def test_a_split_without_rows_is_a_breach(tmp_path):
    given = release_rows.rows()
    given["capo", "train"] = []
    report = validate(release_rows.build(tmp_path, given))
    assert [(b.rule, b.config) for b in report.breaches] == [("rows", "capo"), ("rows", "dpo")]


def test_another_schema_is_a_breach_and_its_rows_are_left_alone(tmp_path):
    folder = release_rows.build(tmp_path)
    path = file_of(folder, VALIDATION)
    pq.write_table(pq.read_table(path).drop_columns(["prompt"]), path)
    report = validate(folder)
    assert next((b.rule, b.detail) for b in report.breaches if b.config == "test") == (
        "schema",
        "validation-00000-of-00001.parquet: column prompt is missing",
    )
    assert "null" not in report.counts


def test_a_null_in_a_file_that_allows_it_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path)
    path = file_of(folder, DPO)
    rows = pq.read_table(path).to_pylist()
    rows[1]["chosen"][0]["content"] = None
    loose = pa.schema([pa.field(f.name, f.type) for f in schema("dpo")])
    message = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])
    loose = loose.set(2, pa.field("chosen", pa.list_(message)))
    pq.write_table(pa.Table.from_pylist(rows, schema=loose), path)
    report = validate(folder)
    assert report.counts["null"] == 1
    assert [(b.row, b.detail) for b in report.breaches if b.rule == "null"] == [
        (rows[1]["id"], "chosen: element: content is null")
    ]
    assert report.counts["schema"] == 7


def test_text_that_is_not_utf8_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path)
    path = file_of(folder, TEST)
    found = pq.read_table(path)
    offsets = pa.array(range(len(found) + 1), pa.int32()).buffers()[1]
    bad = pa.Array.from_buffers(pa.string(), len(found), [None, offsets, pa.py_buffer(b"\xff" * len(found))])
    column = found.schema.get_field_index("domain")
    pq.write_table(found.set_column(column, schema("test").field("domain"), bad), path)
    report = validate(folder)
    assert "cannot be read" in next(b.detail for b in report.breaches if b.rule == "files")


def test_no_dataset_is_a_clear_error(tmp_path):
    with pytest.raises(ContractError, match="no dataset here"):
        validate(tmp_path)
    with pytest.raises(ContractError, match="no dataset here"):
        validate(tmp_path / "nowhere")


class Steps:
    """A reporter that remembers."""

    def __init__(self):
        self.said = []

    def start(self, what, total=None):
        self.said.append((what, total))

    def advance(self, count=1):
        self.said.append(count)

    def finish(self):
        self.said.append("finish")

    def note(self, text):
        self.said.append(text)


def test_progress_counts_each_row_in_both_passes(tmp_path):
    steps = Steps()
    validate(release_rows.build(tmp_path), report=steps)
    assert steps.said[0] == ("validating rows", 52)
    assert steps.said[-1] == "finish"
    assert sum(steps.said[1:-1]) == 52


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as fetching a dataset takes."""

    folder: Path
    sha = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.split("?")[0]
        files = {str(p.relative_to(self.folder)): p for p in self.folder.rglob("*") if p.is_file()}
        if path.startswith("/api/datasets/demo-org/lamps/tree/"):
            listing = [
                {"type": "file", "path": n, "size": p.stat().st_size, "oid": n} for n, p in files.items()
            ]
            return self.send(json.dumps(listing).encode())
        if path.startswith("/api/datasets/demo-org/lamps"):
            siblings = [{"rfilename": name} for name in files]
            info = {"id": "demo-org/lamps", "sha": self.sha, "siblings": siblings, "private": False}
            return self.send(json.dumps({**info, "tags": [], "downloads": 0}).encode())
        name = path.removeprefix(f"/datasets/demo-org/lamps/resolve/{self.sha}/")
        if name in files:
            return self.send(files[name].read_bytes(), etag=name)
        return self.send(b"{}", status=404)

    def send(self, body, *, status=200, etag="x"):
        self.send_response(status)
        for name, value in (
            ("Content-Length", str(len(body))),
            ("ETag", f'"{etag.replace("/", "-")}"'),
            ("X-Repo-Commit", self.sha),
            ("Content-Type", "application/json"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    Hub.folder = release_rows.build(tmp_path / "served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_dataset_of_the_hub_is_fetched_and_checked(hub):
    report = validate("demo-org/lamps")
    assert report.ok, report
    assert report.rows["sft/train"] == 6


def test_a_name_that_is_neither_folder_nor_dataset_is_a_clear_error(hub):
    with pytest.raises(ContractError, match="neither a folder nor a dataset of the Hub") as error:
        validate("demo-org/lumps")
    assert "127.0.0.1" in error.value.where
    assert error.value.why


def test_offline_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ContractError, match="neither a folder nor a dataset of the Hub") as error:
        validate("demo-org/lamps", revision="main")
    assert "network" in error.value.next_command
