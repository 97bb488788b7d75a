"""A dataset of the Hub is fetched by its id, and what cannot be fetched is said."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import release_rows

from capo_data.errors import ContractError
from capo_data.release.schema import table
from capo_data.release.validation import validate


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


def test_a_dataset_of_the_hub_that_breaks_the_contract_is_told_like_a_folder(hub):
    (Hub.folder / "dpo" / "train-00000-of-00001.parquet").unlink()
    path = Hub.folder / "capo" / "train-00000-of-00001.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["conflict"] = not rows[0]["conflict"]
    pq.write_table(table("capo", rows), path)
    report = validate("demo-org/lamps")
    assert report.source == "demo-org/lamps"
    assert {(b.rule, b.config, b.row) for b in report.breaches} == {
        ("files", "dpo", ""),
        ("conflict", "capo", rows[0]["id"]),
    }


def test_a_repository_without_a_dataset_of_ours_is_told_what_is_missing(hub):
    for path in [path for path in Hub.folder.rglob("*") if path.is_file()]:
        path.unlink()
    (Hub.folder / "data.csv").write_text("a,b")
    report = validate("demo-org/lamps")
    assert set(report.counts) == {"card", "files"}
    assert "README.md cannot be read" in report.breaches[0].detail
    assert report.rows == {}


def test_a_folder_is_preferred_to_the_hub(hub, tmp_path):
    release_rows.build(tmp_path / "demo-org" / "lamps", release_rows.rows(users=3))
    assert validate("demo-org/lamps").rows["sft/train"] == 3


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
    assert error.value.where == "http://127.0.0.1:9, revision main"
    assert "network" in error.value.next_command
