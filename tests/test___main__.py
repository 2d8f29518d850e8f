"""`python -m glaciercube` ends with the exit code of the command."""

import subprocess
import sys

import glaciercube


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "glaciercube", *arguments], capture_output=True, text=True
    )


def test_it_says_its_version():
    done = run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, glaciercube.__version__)


def test_a_failure_is_in_the_exit_code(tmp_path):
    done = run("map", str(tmp_path / "no.tif"), "--sensor", "spot-5", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "spot-5" in done.stderr
    assert "Traceback" not in done.stderr
