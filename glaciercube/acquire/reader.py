"""How assets of items are read: signed when opened, tried again, failing with a name."""

import ctypes
import logging
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource, RioDriver
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from glaciercube import grid
from glaciercube.acquire import failures
from glaciercube.acquire.access import (
    FORMATS,
    Opening,
    address_for_reading,
    is_remote,
    plain,
    signed,
    without_query,
)
from glaciercube.acquire.diagnosis import FINAL, Diagnosis, diagnose
from glaciercube.acquire.failures import DAMAGED, FORBIDDEN, NOT_A_RASTER, TRANSIENT, Failure
from glaciercube.acquire.patience import Patience, gdal_options, patience
from glaciercube.acquire.rasters import read_raster
from glaciercube.errors import AcquireError

__all__ = ["ItemDriver", "ItemReader", "ReadError", "patiently", "plain", "signed"]

# Warping arrays in threads, rasterio now and then says that its own scratch file has no
# georeference, which is true and means nothing.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module="rasterio.warp")

KNOWN_S = 300.0
"""How long (s) a file that is missing or no raster is not asked for again."""

RENEWALS = 4
"""Fresh tokens of one read at most."""

Result = TypeVar("Result")


class ReadError(AcquireError):
    """An asset cannot be read; `failure` says which, where and why."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        whose = f" ({failure.band!r} of {failure.item})" if failure.item else ""
        where = f" on {failure.window}" if failure.window else ""
        super().__init__(
            f"cannot read {failure.address}{whose}{where} ({failure.tries} tries): "
            f"{failure.kind}: {failure.cause}; try again later, or leave the item out"
        )

    def __reduce__(self) -> Any:
        """Let it travel between processes."""
        return ReadError, (self.failure,)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is read, for the record of a failure."""

    item: str = ""
    band: str = ""
    window: str = ""


class _Known:
    """Files that cannot be read, so that each block of a missing file does not ask again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[float, Diagnosis]] = {}

    def get(self, address: str) -> Diagnosis | None:
        with self._lock:
            until, diagnosis = self._held.get(address, (0.0, None))
            return diagnosis if time.monotonic() < until else None

    def set(self, address: str, diagnosis: Diagnosis) -> None:
        with self._lock:
            self._held[address] = (time.monotonic() + KNOWN_S, diagnosis)

    def clear(self) -> None:
        with self._lock:
            self._held.clear()


KNOWN = _Known()


def patiently(
    address: str,
    work: Callable[[str], Result],
    place: Place,
    limits: Patience | None = None,
) -> Result:
    """Return what some reading of an asset gives, tried again where the fault may pass.

    Parameters
    ----------
    address : str
        Without a token; it is signed here, before each try.
    work : callable
        Reads, given the address to open.
    place : Place
    limits : Patience, optional
        Of the environment if not given.

    Raises
    ------
    ReadError
        If it cannot be read.
    """
    limits = limits or patience()
    bare = without_query(address)
    known = KNOWN.get(bare) if is_remote(address) else None
    if known is not None and known.kind in FINAL:
        raise _error(bare, place, known, 0)
    if known is not None:
        limits = replace(limits, tries=min(limits.tries, 2))
    start, stale, renewed, attempt = time.monotonic(), "", 0, 0
    while True:
        attempt += 1
        opening, diagnosis, result = _attempt(address, work, stale, limits)
        if diagnosis is None:
            return result  # type: ignore[return-value]
        pause = limits.pause(attempt, diagnosis.wait_s)
        late = time.monotonic() - start + pause > limits.total_s
        if diagnosis.kind == FORBIDDEN and opening.renews and renewed < RENEWALS:
            stale, renewed = opening.token, renewed + 1
        elif not _may_pass(diagnosis, address):
            late = True
        if is_remote(address):
            _forget(opening.address)
        if late or attempt >= limits.tries:
            break
        time.sleep(pause)
    if is_remote(address) and diagnosis.kind not in (TRANSIENT, FORBIDDEN):
        KNOWN.set(bare, diagnosis)
    # Raised here, outside of the handling of GDAL's error, which holds the signed address.
    raise _error(bare, place, diagnosis, attempt)


def _attempt(
    address: str, work: Callable[[str], Result], stale: str, limits: Patience
) -> tuple[Opening, Diagnosis | None, Result | None]:
    """Return how an asset was opened, and why it could not be read, or what was read."""
    try:
        opening = address_for_reading(address, stale)
    except AcquireError as error:
        return Opening(address), Diagnosis(TRANSIENT, str(error)), None
    options = {**gdal_options(limits), **opening.options} if is_remote(address) else {}
    with rasterio.Env(**options):
        try:
            if is_remote(address):
                _require_format(opening.address)
            return opening, None, work(opening.address)
        except RasterioError as error:
            diagnosis = diagnose(error, opening.address, limits.connect_s)
    return opening, _hidden(diagnosis, opening), None


def _require_format(address: str) -> None:
    """Open a remote file as an image and nothing else; its header stays in GDAL's cache."""
    with rasterio.DatasetReader(_gdal_path(address), driver=list(FORMATS)):
        pass


def _hidden(diagnosis: Diagnosis, opening: Opening) -> Diagnosis:
    """Return a diagnosis in which no token stands, wherever GDAL may have put it."""
    if not opening.token:
        return diagnosis
    return replace(diagnosis, cause=diagnosis.cause.replace(opening.token, "..."))


def _may_pass(diagnosis: Diagnosis, address: str) -> bool:
    if diagnosis.kind == NOT_A_RASTER:
        # Nobody but a web server was asked what is there; half a header is no raster either.
        return is_remote(address) and not address.startswith("http")
    return is_remote(address) and diagnosis.kind in (TRANSIENT, DAMAGED)


def _error(address: str, place: Place, diagnosis: Diagnosis, tries: int) -> ReadError:
    return ReadError(
        Failure(
            item=place.item,
            band=place.band,
            address=plain(address),
            window=place.window,
            kind=diagnosis.kind,
            cause=diagnosis.cause,
            tries=tries,
        )
    )


def _forget(address: str) -> None:
    """Let GDAL forget what it keeps of a remote file, also that it could not be opened.

    Else every further try gives the same answer without a request. rasterio has no door to
    this function of GDAL's, which is found through the library that rasterio is linked with.
    """
    if _clear is None:
        return
    _clear(_gdal_path(address).encode())


def _gdal_path(address: str) -> str:
    """Return how GDAL calls a remote address."""
    scheme, _, rest = address.partition("://")
    return f"/vsicurl/{address}" if scheme.startswith("http") else f"/vsi{scheme}/{rest}"


def _find_clear() -> Callable[[bytes], None] | None:
    try:
        function = ctypes.CDLL(rasterio._env.__file__).VSICurlPartialClearCache
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = [ctypes.c_char_p], None
    return function


_clear = _find_clear()


class ItemReader:
    """One asset, as odc-loader reads it."""

    def __init__(self, source: RasterSource, context: Any, limits: Patience | None = None) -> None:
        self._source = source
        self._context = context
        self._limits = limits

    def read(self, cfg: RasterLoadParams, dst_geobox: GeoBox, **options: Any) -> Any:
        """Return the pixels on a grid; see `odc.loader.RioReader.read`.

        With `cfg.fail_on_error` False, as odc-stac has it, a read that failed is recorded (see
        `failures.record`) and gives no pixels.

        Raises
        ------
        ReadError
            If the asset cannot be read, after some tries where the fault may pass.
        """
        told = self._source.driver_data if isinstance(self._source.driver_data, dict) else {}
        place = Place(
            item=str(told.get("item", "")),
            band=str(told.get("band", "")),
            window=grid.describe(dst_geobox),
        )
        strict = replace(cfg, fail_on_error=True)

        def work(address: str) -> Any:
            source = replace(self._source, uri=address)
            _here.trying = True
            try:
                return read_raster(source, self._context, strict, dst_geobox, **options)
            finally:
                _here.trying = False

        try:
            return patiently(self._source.uri, work, place, self._limits)
        except ReadError as error:
            if cfg.fail_on_error:
                raise
            failures.record(error.failure)
        return np.s_[0:0, 0:0], np.ndarray((0, 0), dtype=cfg.dtype)


class ItemDriver(RioDriver):
    """odc-loader's reader of rasters with our own opening.

    Give a source `driver_data={"item": ..., "band": ...}`, so that a failure names them.

    Parameters
    ----------
    limits : Patience, optional
        How often and how long is tried; of the environment of the worker if not given.
    """

    def __init__(self, limits: Patience | None = None) -> None:
        super().__init__()
        self._limits = limits

    def open(self, src: RasterSource, ctx: Any) -> ItemReader:  # type: ignore[override]
        """Return the reader of an asset."""
        return ItemReader(src, ctx, self._limits)


_here = threading.local()
"""Whether this thread tries a read, of whose end this module tells itself."""


class _Plain(logging.Filter):
    """Takes queries, which may hold a token, out of what the libraries beneath say."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == ODC and getattr(_here, "trying", False):
            return False
        text = record.getMessage()
        if "?" in text or "@" in text:
            record.msg, record.args = plain(text), ()
        return True


ODC = "odc.loader._rio"

for _name in (
    "rasterio", "rasterio.env", "rasterio.session", "rasterio._base", "rasterio._env",
    "rasterio._err", "rasterio._io", "rasterio._warp", "rasterio._vsiopener", ODC,
):  # fmt: skip
    logging.getLogger(_name).addFilter(_Plain())
