import subprocess
import sys

import pytest

import glaciercube.model


def test_importing_the_room_does_not_import_torch():
    code = "import sys, glaciercube.model; dir(glaciercube.model); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", glaciercube.model.PUBLIC)
def test_what_a_user_calls_is_there(name):
    found = getattr(glaciercube.model, name)
    assert found.__module__ == f"glaciercube.model.{glaciercube.model.PUBLIC[name]}"
    assert found.__name__ == name
    assert name in dir(glaciercube.model)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(AttributeError, match="no attribute 'holds'; it has .*'hold'"):
        glaciercube.model.holds  # noqa: B018
