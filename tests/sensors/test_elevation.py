"""Elevation models and their datums."""

from glaciercube.sensors import SENSORS


def test_heights_have_a_datum_and_nothing_else_has():
    datums = {name: row.vertical_datum for name, row in SENSORS.items() if row.vertical_datum}
    assert datums == {
        "cop-dem-glo-30": "EGM2008",
        "cop-dem-glo-90": "EGM2008",
        "nasadem": "EGM96",
    }
    assert all(SENSORS[name].variable == "elevation" for name in datums)
