"""Files that are written whole or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tuner.atomic import whole, write_whole


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def fail(path: Path, begin: Callable[[Path], object]) -> None:
    with whole(path) as part:
        begin(part)
        raise OSError("no space")


def test_a_block_that_fails_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    for begin in (lambda part: part.write_text("half"), lambda part: (part.mkdir(), (part / "b").touch()), lambda part: None):
        with pytest.raises(OSError, match="no space"):
            fail(tmp_path / "a", begin)
    assert (tmp_path / "a").read_text() == "old" and list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with whole(tmp_path / "a") as part:
        part.mkdir()
        (part / "b").touch()
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "b").exists()
