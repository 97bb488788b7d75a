"""Runs to publish: a tiny simulated shop, and a shop whose reviews hold what they should not."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

import capo_data

RECIPE = """domain: tiny
source: {kind: demo, size: {users: 24, items: 60, interactions: 220}}
candidates: {size: 10}
ties: {policy: keep}
release: {license: cc0-1.0}
"""
# What a customer may write, and what becomes of it.
NASTY = {
    "html": "<script>alert(1)</script> <b>bold</b> &lt;img src=x&gt;",
    "formula": '=HYPERLINK("http://evil.example","win")',
    "override": "abc \u202egnp.exe\u202c def",
    "long": "so very good " * 8_000,
    "mail": "write to jane.doe+shop@mail.example.org please",
    "phone": "call me at (555) 123-4567 or +49 30 901820",
    "order": "order #A1234567 never came",
}


def tiny(folder: Path, recipe: str = RECIPE) -> Path:
    """A complete run of the tiny shop."""
    path = folder / "tiny.yaml"
    path.write_text(recipe)
    return capo_data.build(recipe=path, out=folder / "run", cache=folder / "cache").run


def shop(folder: Path, users: int = 12, items: int = 20) -> dict[str, Any]:
    """Files of a shop of one's own, every review one of `NASTY`; the arguments that read them."""
    texts = list(NASTY.values())
    with (folder / "logs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["customer", "sku", "stars", "time", "text"])
        for user in range(users):
            for step in range(8):
                item = (user * 3 + step * 2) % items
                text = f"{texts[(user + step) % len(texts)]} {user}-{step}"
                writer.writerow(
                    [f"c{user}", f"S{item:03d}", 1 + (user + step) % 5, 1_600_000_000 + step, text]
                )
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "title", "description"])
        for item in range(items):
            writer.writerow(
                [f"S{item:03d}", f"Thing {item} <i>nice</i>", f"Ask shop{item}@things.example about {item}"]
            )
    return {
        "source": folder / "logs.csv",
        "items": folder / "items.csv",
        "column": {
            "user_id": "customer",
            "item_id": "sku",
            "rating": "stars",
            "timestamp": "time",
        },
    }


def shop_run(folder: Path, extra: str = "") -> tuple[Path, dict[str, Any]]:
    """A complete run of that shop, and the arguments that read its files again."""
    given = shop(folder)
    path = folder / "shop.yaml"
    path.write_text("domain: shop\ncandidates: {size: 8}\nties: {policy: keep}\n" + extra)
    built = capo_data.build(recipe=path, out=folder / "shop-run", cache=folder / "cache", **given)
    return built.run, given


def on_hub(monkeypatch: pytest.MonkeyPatch, address: str, token: str | None) -> None:
    """This process asks the loopback Hub, by LFS (its other protocol needs a service of its own)."""
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent/token")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
