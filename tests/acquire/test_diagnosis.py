"""Why a read failed, from GDAL's words and from the server's."""

import pytest
from servers.faults import Faults
from servers.files import RangeServer

from glaciercube.acquire.diagnosis import ask, diagnose, from_text, of_status

SAID = {
    "HTTP response code: 503": "transient",
    "HTTP error code : 429": "transient",
    "HTTP response code: 404": "missing",
    "HTTP response code: 403": "forbidden",
    "CURL error: Recv failure: Connection reset by peer": "transient",
    "Operation timed out after 1000 milliseconds": "transient",
    "CURL error: Could not resolve host: x.org": "transient",
    "'/vsicurl/http://x.org/a.tif' does not exist in the file system, and is not recognized as a "
    "supported dataset name.": "transient",
    "The specified key does not exist.": "missing",
    "NoSuchBucket": "missing",
    "AccessDenied: Access Denied": "forbidden",
    "ExpiredToken: The provided token has expired.": "forbidden",
    "'/vsicurl/http://x.org/a.tif' not recognized as being in a supported file format.": (
        "not a raster"
    ),
    "a.tif, band 1: IReadBlock failed at X offset 2, Y offset 1": "damaged",
}


@pytest.mark.parametrize("text", SAID)
def test_words_about_remote_files(text):
    assert from_text(text, remote=True).kind == SAID[text]


def test_words_about_local_files():
    assert from_text("/a.tif: No such file or directory", remote=False).kind == "missing"
    assert from_text("'/a.tif' not recognized as being in a supported", False).kind == (
        "not a raster"
    )


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_statuses_that_may_pass(status):
    assert of_status(status) == "transient"


def test_the_server_is_asked_where_the_words_are_vague(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(100))
    (tmp_path / "b.tif").write_bytes(b"\x89PNG" + bytes(100))
    vague = OSError("'x' not recognized as being in a supported file format.")
    with RangeServer(tmp_path) as server:
        assert ask(server.url("a.tif"), 1).kind == ""
        assert diagnose(vague, server.url("a.tif"), 1).kind == "transient"
        found = diagnose(vague, server.url("b.tif"), 1)
        assert (found.kind, found.cause) == (
            "not a raster",
            "the file begins with 89504e47, as no TIFF or JP2 does",
        )
        server.faults = Faults(1.0, ("429",))
        server.retry_after = "12"
        assert diagnose(vague, server.url("a.tif"), 1).wait_s == 12.0
        server.retry_after = "Wed, 21 Oct 2026 07:28:00 GMT"
        assert diagnose(vague, server.url("a.tif"), 1).wait_s == 0.0
    assert ask(server.url("a.tif"), 1) is None
    assert diagnose(vague, server.url("b.tif"), 1).kind == "transient"


def test_the_chain_of_errors_is_read():
    vague = OSError("Read failed. See previous exception for details.")
    vague.__cause__ = OSError("TIFFReadEncodedTile() failed.")
    assert diagnose(vague, "/a.tif", 1).cause == "TIFFReadEncodedTile() failed."
