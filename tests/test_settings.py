from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from capo_data import settings
from capo_data.errors import UsageError


@pytest.fixture
def no_salt(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(settings.SALT_VARIABLE)
    return settings.config_folder() / "salt"


def test_the_salt_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.SALT_VARIABLE, "mine")
    assert settings.salt() == b"mine"
    assert not (settings.config_folder() / "salt").exists()


def test_a_salt_is_made_once_and_readable_by_its_owner_alone(no_salt: Path) -> None:
    first = settings.salt()
    assert len(first) == 64
    assert settings.salt() == first
    assert stat.S_IMODE(no_salt.stat().st_mode) == 0o600
    assert [path.name for path in no_salt.parent.iterdir()] == ["salt"]


def test_builds_that_start_at_once_agree_on_one_salt(no_salt: Path) -> None:
    command = [sys.executable, "-c", "from capo_data import settings; print(settings.salt().decode())"]
    builds = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({build.communicate()[0] for build in builds}) == 1


def test_a_salt_file_that_lost_its_text_is_refused(no_salt: Path) -> None:
    no_salt.parent.mkdir(parents=True)
    no_salt.touch()
    with pytest.raises(UsageError, match="too short"):
        settings.salt()


def test_a_salt_that_cannot_be_read_is_said(no_salt: Path) -> None:
    no_salt.mkdir(parents=True)
    with pytest.raises(UsageError, match="neither read nor made") as caught:
        settings.salt()
    assert settings.SALT_VARIABLE in caught.value.next_command
