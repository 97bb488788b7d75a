"""What tests share: real data where it lies, a salt of their own, shops small enough to think about."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["vllm_server"]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data(name: str) -> Path:
    """A folder of the real data; the test is skipped where it is absent."""
    folder = DATA / name
    if not folder.exists():
        pytest.skip(f"real data not here: {folder}")
    return folder


@pytest.fixture(autouse=True)
def _own_salt(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the salt, the cache or the keys of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CAPO_DATA_SALT", "a salt for tests")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    for name in ("OPENAI_API_KEY", "CAPO_DATA_PRICES", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
