"""Files are whole or not there, whatever happens while they are written."""

import os
import sys
from pathlib import Path

import pytest

from ligflow import LigflowError
from ligflow.files import atomically, ensure_writable, to_disk, write_made, write_text


def test_a_file_has_its_new_content_or_its_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    assert write_text(path, "naïve 👍") == path
    assert path.read_bytes() == "naïve 👍".encode()
    assert write_text(path, "a\r\nb\n").read_bytes() == b"a\r\nb\n"  # on Windows too
    write_text(path, "naïve 👍")

    def half(scratch: str) -> None:
        Path(scratch).write_text("half")
        assert path.read_text(encoding="utf-8") == "naïve 👍"  # while it is being written
        raise OSError("the disk is full")

    with pytest.raises(LigflowError, match=r"Could not write .*file\.txt': the disk is full"):
        atomically(path, half)
    assert path.read_text(encoding="utf-8") == "naïve 👍"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_an_interrupted_write_leaves_nothing_and_goes_on_up(tmp_path: Path) -> None:
    def interrupted(scratch: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomically(tmp_path / "file.txt", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_what_another_library_writes_is_made_in_memory_first(tmp_path: Path) -> None:
    def make(file: object) -> None:
        assert list(tmp_path.iterdir()) == []
        file.write(b"\x89PNG")  # type: ignore[attr-defined]

    assert write_made(tmp_path / "made.png", make).read_bytes() == b"\x89PNG"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a file that is open from being replaced")
def test_who_has_the_old_file_open_reads_it_to_its_end(tmp_path: Path) -> None:
    path = write_text(tmp_path / "file.txt", "old")
    with path.open(encoding="utf-8") as opened:
        write_text(path, "new")
        assert opened.read() == "old"
    assert path.read_text(encoding="utf-8") == "new"


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_new_file_may_be_read_by_whom_the_mask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert write_text(tmp_path / "file.txt", "").stat().st_mode & 0o777 == 0o640
        assert os.umask(0) == 0o027  # asking for the mask does not change it
    finally:
        os.umask(before)


def test_what_could_not_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "file.txt")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LigflowError, match="there is no folder"):
        ensure_writable(tmp_path / "no" / "file.txt")
    with pytest.raises(LigflowError, match="it is a folder"):
        ensure_writable(tmp_path)
    with pytest.raises(LigflowError, match="it is no regular file"):
        ensure_writable(os.devnull)


def test_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        "ligflow.files.to_disk", lambda path: seen.append((path.suffix, (tmp_path / "file.txt").exists()))
    )
    write_text(tmp_path / "file.txt", "text")
    assert seen == [(".part", False)]


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folder")
def test_folders_are_brought_to_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    to_disk(tmp_path)
    to_disk(write_text(tmp_path / "file.txt", ""))
    assert [synced[0], synced[-1]] == [tmp_path.stat().st_ino, (tmp_path / "file.txt").stat().st_ino]


def test_on_windows_no_folder_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "open", refused)
    to_disk(tmp_path)
    with pytest.raises(PermissionError):
        to_disk(tmp_path / "file.txt")
