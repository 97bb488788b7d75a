"""What tests share: a salt, a cache and a home of their own."""

from __future__ import annotations

import pytest

pytest_plugins = ["vllm_server"]


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
