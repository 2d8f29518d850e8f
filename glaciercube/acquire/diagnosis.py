"""Why a read failed, from what GDAL said and, over HTTP, from asking the server once."""

import http.client
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, replace

from glaciercube.acquire.access import is_remote, plain
from glaciercube.acquire.failures import (
    DAMAGED,
    FORBIDDEN,
    MISSING,
    NOT_A_RASTER,
    TRANSIENT,
)

FINAL = (MISSING, NOT_A_RASTER)
"""What no further try will change."""

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xffO\xffQ")
"""How TIFF, BigTIFF and JPEG 2000 files begin."""

_STATUS = re.compile(r"HTTP (?:response|error) code(?: on [^:]*)? ?:? ?(\d{3})")
_MISSING = re.compile(
    r"no such file|does not exist in the file system|NoSuchKey|NoSuchBucket|"
    r"specified (key|bucket) does not exist",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(
    r"AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|"
    r"No valid AWS credentials|permission denied|InvalidCredentials",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"timed? ?out|connection|curl error|could not resolve|recv failure|empty reply|SlowDown|"
    r"RequestTimeout|Range downloading not supported|unexpected end",
    re.IGNORECASE,
)
_FOREIGN = re.compile(
    r"not recognized as (being in )?a supported|band index .* out of range|"
    r"not a TIFF|no driver",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a read that failed."""

    kind: str
    """As in `failures.KINDS`."""

    cause: str
    """Without credentials."""

    wait_s: float = 0.0
    """How long the server asks to wait (s), 0 if it does not."""


def diagnose(error: BaseException, address: str, timeout_s: float) -> Diagnosis:
    """Return why a read failed.

    Parameters
    ----------
    error : exception
        As rasterio raised it; those that led to it count too.
    address : str
        As it was opened, with its token. Over HTTP the server is asked for the first bytes,
        unless the error has told already.
    timeout_s : float
        For that question.
    """
    said = _chain(error)
    told = from_text(said, is_remote(address))
    if told.kind in (MISSING, FORBIDDEN) or not address.startswith(("http://", "https://")):
        return told
    asked = ask(address, timeout_s)
    if asked is None:
        # Half a header is no raster to GDAL; who did not answer has not confirmed it.
        return replace(told, kind=TRANSIENT) if told.kind == NOT_A_RASTER else told
    if asked.kind == TRANSIENT and told.kind != TRANSIENT:
        return Diagnosis(TRANSIENT, f"{told.cause}; {asked.cause}", asked.wait_s)
    if asked.kind:
        return asked
    kind = TRANSIENT if told.kind == NOT_A_RASTER else told.kind
    return Diagnosis(kind, told.cause, asked.wait_s)


def from_text(text: str, remote: bool) -> Diagnosis:
    """Return what an error's text tells.

    Parameters
    ----------
    text : str
    remote : bool
        Whether it is about an address that is read over a network.

    Examples
    --------
    >>> from_text("HTTP response code: 503", remote=True).kind
    'transient'
    >>> from_text("HTTP response code: 404", remote=True).kind
    'missing'
    """
    cause = plain(text)
    status = _STATUS.search(text)
    if status:
        return Diagnosis(of_status(int(status[1])), cause)
    if _FORBIDDEN.search(text):
        return Diagnosis(FORBIDDEN, cause)
    if remote and _NETWORK.search(text):
        return Diagnosis(TRANSIENT, cause)
    if _FOREIGN.search(text) and not _MISSING.search(text):
        return Diagnosis(NOT_A_RASTER, cause)
    if _MISSING.search(text):
        # GDAL says so too of a host that it could not reach a moment before.
        gone = not remote or "specified" in text or "NoSuch" in text
        return Diagnosis(MISSING if gone else TRANSIENT, cause)
    return Diagnosis(DAMAGED, cause)


def of_status(status: int) -> str:
    """Return what an HTTP status means for a read.

    Examples
    --------
    >>> of_status(410), of_status(401), of_status(429)
    ('missing', 'forbidden', 'transient')
    """
    if status in (404, 410):
        return MISSING
    if status in (401, 403):
        return FORBIDDEN
    return TRANSIENT


def ask(address: str, timeout_s: float) -> Diagnosis | None:
    """Return what a server says of the first bytes of a file; a kind of "" if all is well.

    None if it gave no answer.

    Parameters
    ----------
    address : str
        Of http or https.
    timeout_s : float
    """
    request = urllib.request.Request(address, headers={"Range": "bytes=0-255"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            start = answer.read(256)
            kind = answer.headers.get_content_type()
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return Diagnosis(NOT_A_RASTER, "the file is empty")
        wait = _seconds(error.headers.get("Retry-After"))
        return Diagnosis(of_status(error.code), f"HTTP response code: {error.code}", wait)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    if start.startswith(MAGIC) or len(start) < 4:
        return Diagnosis("", "")
    if kind == "text/html" or start.lstrip()[:1] == b"<":
        return Diagnosis(NOT_A_RASTER, f"the file is text ({kind}), not an image")
    return Diagnosis(
        NOT_A_RASTER, f"the file begins with {start[:4].hex()}, as no TIFF or JP2 does"
    )


def _seconds(text: str | None) -> float:
    """Return a Retry-After of seconds; a date counts as none."""
    return float(text) if text and text.strip().isdigit() else 0.0


def _chain(error: BaseException | None) -> str:
    """Return the texts of an error and of those that led to it, the vague ones left out."""
    texts: list[str] = []
    while error is not None and len(texts) < 8:
        text = str(error)
        if "See previous exception" not in text and text not in texts:
            texts.append(text)
        error = error.__cause__ or error.__context__
    return "; ".join(texts[:3])
