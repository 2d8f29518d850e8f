"""The command line itself: what it says and which code it ends with."""

import pytest

import glaciercube
from glaciercube.cli import main


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == glaciercube.__version__


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "demo" in capsys.readouterr().err


def test_a_failure_is_one_line_and_a_code(tmp_path, capsys):
    code = main(
        ["map", str(tmp_path / "no.tif"), "--sensor", "sentinel-2-l2a", "--out", str(tmp_path)]
    )
    said = capsys.readouterr().err
    assert code == 1
    assert said.startswith("error in map: ")
    assert "no.tif" in said
    assert "Traceback" not in said


def test_an_unknown_network_cannot_be_trained(tmp_path, capsys):
    code = main(["train", "facets", "--data", str(tmp_path), "--out", str(tmp_path)])
    assert code == 1
    assert "facets" in capsys.readouterr().err
