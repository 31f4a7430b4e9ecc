"""A kept session: found again by its own identity only, and never taken from where somebody else could have put it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from dms_airflow.airflow.session_store import FOLDER, SessionFile, StoredSession
from tests.unit.fakes import FakeClock, FakeLog

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("https://dms.cn-hangzhou.aliyuncs.com", "af-1", "LTAI-the-id")
SESSION = StoredSession(host="https://data.example.com/airflow/af-1", cookie="session=s3ss10n")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def kept(tmp_path: Path, clock: FakeClock, log: FakeLog) -> SessionFile:
    """The file of a session that was kept just now."""
    file = SessionFile(tmp_path, KEY, clock=clock, log=log)
    file.write(SESSION)
    return file


def find_file(temp: Path) -> Path:
    (file,) = (temp / FOLDER).iterdir()
    return file


def test_what_was_kept_is_found(kept: SessionFile) -> None:
    assert kept.read() == SESSION


def test_nobody_else_may_read_it(kept: SessionFile, tmp_path: Path) -> None:
    assert kept.read()
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert find_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_neither_its_name_nor_its_text_tells_the_identity(kept: SessionFile, tmp_path: Path) -> None:
    assert kept.read()
    file = find_file(tmp_path)
    assert "LTAI" not in file.name
    assert set(json.loads(file.read_text())) == {"host", "cookie", "bearer", "version", "opened"}
    assert "s3ss10n" not in repr(SESSION)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_another_endpoint_instance_or_identity_has_another_session(kept: SessionFile, tmp_path: Path, place: int) -> None:
    other = [*KEY]
    other[place] += "2"

    assert kept.read() == SESSION
    assert SessionFile(tmp_path, other, clock=FakeClock(), log=FakeLog()).read() is None


def test_without_a_kept_session_there_is_none(tmp_path: Path) -> None:
    assert SessionFile(tmp_path, KEY, clock=FakeClock(), log=FakeLog()).read() is None


@pytest.mark.parametrize(("seconds", "is_good"), [(7199, True), (7201, False), (-1, False)])
def test_an_old_session_is_none(kept: SessionFile, clock: FakeClock, seconds: int, *, is_good: bool) -> None:
    clock.now += seconds

    assert (kept.read() is not None) is is_good


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_can_open_is_none_and_replaced(kept: SessionFile, tmp_path: Path, mode: int) -> None:
    find_file(tmp_path).chmod(mode)

    assert kept.read() is None
    kept.write(SESSION)
    assert kept.read() == SESSION
    assert find_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_link_is_none_and_what_it_leads_to_stays(kept: SessionFile, tmp_path: Path) -> None:
    file, target = find_file(tmp_path), tmp_path / "target.json"
    file.rename(target)
    text = target.read_text()
    file.symlink_to(target)

    assert kept.read() is None
    kept.write(StoredSession(host=SESSION.host, cookie="session=new"))
    assert not file.is_symlink()
    assert target.read_text() == text


def test_a_folder_that_others_can_write_is_not_used(kept: SessionFile, tmp_path: Path, log: FakeLog) -> None:
    (tmp_path / FOLDER).chmod(0o777)
    before = find_file(tmp_path).read_text()

    assert kept.read() is None
    kept.write(StoredSession(host=SESSION.host, cookie="session=new"))
    assert find_file(tmp_path).read_text() == before
    assert "other users can write" in log.lines[-1]


def test_a_link_in_place_of_the_folder_is_not_used(tmp_path: Path, log: FakeLog) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / FOLDER).symlink_to(elsewhere)
    file = SessionFile(tmp_path, KEY, clock=FakeClock(), log=log)

    file.write(SESSION)

    assert list(elsewhere.iterdir()) == []
    assert file.read() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_none_and_replaced(kept: SessionFile, tmp_path: Path) -> None:
    os.chown(find_file(tmp_path), 12345, 12345)

    assert kept.read() is None
    kept.write(SESSION)
    assert kept.read() == SESSION
    assert find_file(tmp_path).stat().st_uid == tmp_path.stat().st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_runner_may_delete_what_a_container_left(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    file = SessionFile(tmp_path, KEY, clock=FakeClock(), log=FakeLog())

    file.write(SESSION)

    assert (tmp_path / FOLDER).stat().st_uid == 12345
    assert find_file(tmp_path).stat().st_uid == 12345
    assert file.read() == SESSION


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"host": "https://a.example.com", "cookie": "session=x"}',
        '{"host": 1, "cookie": "session=x", "opened": "2026-11-22T12:00:00+00:00"}',
        '{"host": "https://a.example.com", "cookie": "session=x\\r\\nEvil: 1", "opened": "2026-11-22T12:00:00+00:00"}',
        '{"host": "", "cookie": "session=x", "opened": "2026-11-22T12:00:00+00:00"}',
        '{"host": "https://a.example.com", "cookie": "session=x", "opened": "2026-11-22T12:00:00"}',
        '{"host": "https://a.example.com", "cookie": "session=x", "opened": 1}',
        "[" * 60_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_file_that_is_not_whole_is_none(kept: SessionFile, tmp_path: Path, text: str) -> None:
    find_file(tmp_path).write_text(text, encoding="latin-1")

    assert kept.read() is None


def test_what_cannot_be_kept_is_told_and_no_failure(tmp_path: Path, log: FakeLog) -> None:
    (tmp_path / FOLDER).write_text("a file in the folder's place")
    file = SessionFile(tmp_path, KEY, clock=FakeClock(), log=log)

    file.write(SESSION)
    SessionFile(tmp_path / "nosuch", KEY, clock=FakeClock(), log=log).write(SESSION)

    assert file.read() is None
    assert log.lines == [
        f"The session is not stored: other users can write to {tmp_path / FOLDER}.",
        "The session is not stored: No such file or directory.",
    ]


def test_no_draft_is_left(kept: SessionFile, tmp_path: Path) -> None:
    kept.write(SESSION)

    assert len(list((tmp_path / FOLDER).iterdir())) == 1
