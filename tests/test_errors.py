"""Each error is one of ours and the builtin that a caller would expect."""

import pytest

from glaciercube import errors

KINDS = {
    errors.SchemaError: ValueError,
    errors.SensorError: ValueError,
    errors.GridError: ValueError,
    errors.WeightsError: ValueError,
    errors.StoreError: OSError,
    errors.AcquireError: OSError,
}


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_except_works(kind):
    with pytest.raises(KINDS[kind], match="needed, found"):
        raise kind("needed, found")
    assert issubclass(kind, errors.GlacierCubeError)


def test_the_warning_can_be_filtered_alone():
    assert issubclass(errors.GlacierCubeWarning, UserWarning)
    assert not issubclass(errors.GlacierCubeWarning, DeprecationWarning)
