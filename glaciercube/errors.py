"""What can go wrong, by kind; each is also the builtin error a caller would expect."""


class GlacierCubeError(Exception):
    """Anything this package raises on purpose."""


class SchemaError(GlacierCubeError, ValueError):
    """Data that flows between stages lacks a variable, dimension, dtype or unit."""


class SensorError(GlacierCubeError, ValueError):
    """A sensor, band or conversion rule is unknown or contradicts the pixels."""


class GridError(GlacierCubeError, ValueError):
    """Two grids differ, or one has no coordinate reference system."""


class WeightsError(GlacierCubeError, ValueError):
    """A network's weights or card are missing, corrupt or do not fit each other."""


class StoreError(GlacierCubeError, OSError):
    """A Zarr cube cannot be created, read, resumed or is another one."""


class AcquireError(GlacierCubeError, OSError):
    """A catalogue, file or outline cannot be found, opened or understood."""


class GlacierCubeWarning(UserWarning):
    """The result may be wrong, and work goes on."""
