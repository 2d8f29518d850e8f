"""What the commands share: each file is made once, and again only if it must be."""

from pathlib import Path

import pytest

from glaciercube.cli.steps import make_once


@pytest.fixture
def makers():
    """Return two makers that count how often each was asked."""
    calls = []

    def maker(text):
        def make(path: Path) -> None:
            calls.append(text)
            path.write_text(text)

        return make

    return {"a.csv": maker("a"), "b.txt": maker("b")}, calls


def test_the_second_time_nothing_is_made(tmp_path, makers, capsys):
    files, calls = makers
    assert make_once(tmp_path, "input 1", files)
    assert not make_once(tmp_path, "input 1", files)
    assert calls == ["a", "b"]
    assert "nothing to do" in capsys.readouterr().out


def test_another_input_makes_them_again(tmp_path, makers):
    files, calls = makers
    make_once(tmp_path, "input 1", files)
    assert make_once(tmp_path, "input 2", files)
    assert calls == ["a", "b", "a", "b"]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("x")])
def test_a_missing_or_changed_file_is_made_again_and_it_alone(tmp_path, makers, damage):
    files, calls = makers
    make_once(tmp_path, "input 1", files)
    damage(tmp_path / "a.csv")
    assert make_once(tmp_path, "input 1", files)
    assert calls == ["a", "b", "a"]
    assert (tmp_path / "a.csv").read_text() == "a"


def test_a_maker_that_fails_leaves_the_old_file_and_what_was_done(tmp_path, makers):
    files, calls = makers
    make_once(tmp_path, "input 1", files)

    def broken(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_once(tmp_path, "input 2", {**files, "b.txt": broken})
    assert (tmp_path / "b.txt").read_text() == "b"
    assert make_once(tmp_path, "input 2", files)
    assert calls == ["a", "b", "a", "b"]
