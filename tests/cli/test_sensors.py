"""The table of sensors, and what it makes of a folder of documents."""

import json

import pytest

from glaciercube.cli import main
from glaciercube.cli.sensors import findings
from glaciercube.sensors import SENSORS


def test_the_table_has_every_row(capsys):
    assert main(["sensors"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in SENSORS)
    assert "heights above EGM2008" in said


def test_every_real_document_has_a_line(real_data, capsys):
    folder = real_data("stac-items")
    assert main(["sensors", "--check", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "110 documents: 73 recognised, 37 refused"
    taken = [line for line in lines if " 10/10 " in line or " 6/6 " in line]
    assert len(taken) == 70, "all Sentinel-2 and Landsat items have all their bands"
    (applied,) = {line.split()[-2] for line in lines if "earthsearch:boa_offset_applied" in line}
    assert applied == "0"
    assert sum("not geocoded" in line for line in lines) == 4


def test_findings_tell_offsets_and_gaps(tmp_path):
    document = {
        "type": "Feature",
        "id": "S2B_T32TMS_20240801T102559_L2A",
        "properties": {"s2:processing_baseline": "05.11"},
        "assets": {"green": {"href": "a.tif"}, "scl": {"href": "b.tif"}},
    }
    (tmp_path / "one.json").write_text(json.dumps(document))
    (finding,) = findings(tmp_path)
    assert finding.sensor == "sentinel-2-l2a"
    assert finding.bands.startswith("1/10 without blue, red")
    assert finding.quality == "scl"
    assert finding.offset == "-1000 (s2:processing_baseline)"
    document["properties"] = {}
    document["assets"] = {"thumbnail": {"href": "a.png"}}
    (tmp_path / "one.json").write_text(json.dumps(document))
    assert "needs assets such as ('blue'" in findings(tmp_path)[0].reason
    document["assets"] = {"green": {"href": "a.tif"}}
    (tmp_path / "one.json").write_text(json.dumps(document))
    assert findings(tmp_path)[0].offset == "undeclared"


@pytest.mark.parametrize("text", [None, "no JSON"])
def test_a_folder_without_documents_is_named(tmp_path, capsys, text):
    if text is not None:
        (tmp_path / "broken.json").write_text(text)
    assert main(["sensors", "--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert ("broken.json is no JSON" if text else "has none") in said
