"""The error of a block: where it happened, said once, and why."""

from glaciercube.errors import GlacierCubeError

_OPENING = "infer.predict failed on "


def placed(
    error: Exception, time: str, rows: tuple[int, int], columns: tuple[int, int]
) -> GlacierCubeError:
    """Return the error to raise for one that came up while a block was computed.

    Parameters
    ----------
    error : Exception
        To be given as its cause.
    time : str
        Date of the block.
    rows, columns : tuple of int
        First pixel and the one after the last, along y and x.

    Returns
    -------
    GlacierCubeError
        Of the kind of the error if it is one of this package's. Its text has that of the error,
        so that nothing is lost where the cause does not travel, as between processes. An error
        that has a place already is given back.

    Examples
    --------
    >>> placed(KeyError("B03"), "2021-08-01", (0, 32), (32, 64))
    GlacierCubeError("infer.predict failed on time 2021-08-01, y 0-32, x 32-64: KeyError: 'B03'")
    """
    if isinstance(error, GlacierCubeError):
        if str(error).startswith(_OPENING):
            return error
        said = str(error)
    else:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
    where = f"time {time}, y {rows[0]}-{rows[1]}, x {columns[0]}-{columns[1]}"
    return _kind_of(error)(f"{_OPENING}{where}: {said}")


def _kind_of(error: Exception) -> type[GlacierCubeError]:
    """Return the kind of this package that an error is of, one that takes a text alone."""
    kinds = {GlacierCubeError, *GlacierCubeError.__subclasses__()}
    return next((kind for kind in type(error).__mro__ if kind in kinds), GlacierCubeError)
