"""Which files there are with outlines, and how little of them is read."""

import zipfile

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from glaciercube import grid
from glaciercube.acquire import outline_files
from glaciercube.acquire.inventories import read_outlines
from glaciercube.acquire.outline_files import rows_of, sources_of, table_of
from glaciercube.errors import AcquireError


def glaciers(count=6, west=10.0, region="11"):
    return gpd.GeoDataFrame(
        {
            "RGIId": [f"RGI60-{region}.{n:05d}" for n in range(1, count + 1)],
            "Name": [f"Glacier {n}" for n in range(1, count + 1)],
            "O1Region": [region] * count,
        },
        geometry=[shapely.box(west + n, 46, west + n + 0.5, 46.5) for n in range(count)],
        crs=4326,
    )


@pytest.fixture
def regions(tmp_path):
    """Return a folder with two regions of RGI 6, each in a folder of its own."""
    for region, west in (("11_rgi60_CentralEurope", 10.0), ("08_rgi60_Scandinavia", 20.0)):
        (tmp_path / region).mkdir()
        glaciers(west=west, region=region[:2]).to_file(tmp_path / region / f"{region}.shp")
        (tmp_path / region / f"{region}_hypso.csv").write_text("RGIId,Area\n")
    return tmp_path


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for one in sorted(folder.rglob("*")):
            archive.write(one, one.relative_to(folder))
    return path


def test_regions_of_a_folder(regions):
    whole = read_outlines(regions)
    assert len(whole) == 12
    assert set(whole["source"]) == {"11_rgi60_CentralEurope", "08_rgi60_Scandinavia"}
    assert read_outlines(regions, region=11)["o1region"].unique().tolist() == ["11"]
    assert len(read_outlines(regions, region="8")) == 6
    assert read_outlines(regions, ids="RGI60-08.00003")["glac_name"].tolist() == ["Glacier 3"]
    assert sorted(read_outlines(regions, name="Glacier 3")["rgi_id"]) == [
        "RGI60-08.00003",
        "RGI60-11.00003",
    ]
    with pytest.raises(AcquireError, match=r"no outlines of region 13; it has regions \['08', '11"):
        read_outlines(regions, region=13)


def test_a_zip_archive_of_one_region_and_of_several(regions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zip")
    one = zipped(regions / "11_rgi60_CentralEurope", folder / "11_rgi60_CentralEurope.zip")
    assert len(read_outlines(one)) == 6
    both = zipped(regions, folder / "rgi60.zip")
    assert len(read_outlines(both)) == 12
    assert read_outlines(both, region=8)["rgi_id"].str.startswith("RGI60-08").all()
    assert len(read_outlines(both, within=(11.1, 46.1, 12.1, 46.2))) == 2


def test_the_region_of_rgi_7_names(tmp_path):
    name = "RGI2000-v7.0-G-11_central_europe.shp"
    glaciers().to_file(tmp_path / name)
    assert sources_of(tmp_path / name)[0].region == "11"
    assert len(read_outlines(tmp_path, region=11)) == 6


def test_a_region_in_one_file_is_a_matter_of_its_column(tmp_path):
    both = gpd.pd.concat([glaciers(3), glaciers(2, 20.0, "08")])
    both.to_file(tmp_path / "all.gpkg")
    assert len(read_outlines(tmp_path / "all.gpkg", region=8)) == 2
    with pytest.raises(AcquireError, match=r"all.gpkg has no outlines of region 01; it has reg"):
        read_outlines(tmp_path / "all.gpkg", region=1)


def test_unlike_files_of_a_folder_are_listed(tmp_path):
    glaciers().to_file(tmp_path / "a.gpkg")
    glaciers().drop(columns="Name").to_file(tmp_path / "b.gpkg")
    with pytest.raises(AcquireError, match=r"2 files with unlike columns or CRS, name the one to"):
        read_outlines(tmp_path)


def test_a_folder_without_outlines(tmp_path):
    with pytest.raises(AcquireError, match="holds no file that ends with one of"):
        read_outlines(tmp_path)
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=4326).to_file(tmp_path / "a.shp")
    with pytest.raises(AcquireError, match=r"has none in its files \['a.shp'\]; choose another"):
        read_outlines(tmp_path)


def test_layers_are_chosen_by_name(tmp_path):
    path = tmp_path / "a.gpkg"
    glaciers(3).to_file(path, layer="y2003")
    glaciers(2).to_file(path, layer="y2015")
    with pytest.raises(AcquireError, match=r"choose layer= of \['y2003', 'y2015'\]"):
        read_outlines(path)
    assert len(read_outlines(path, layer="y2015")) == 2
    with pytest.raises(AcquireError, match=r"no layer 'y1999'; it has \['y2003', 'y2015'\]"):
        read_outlines(path, layer="y1999")


def test_a_layer_of_points_beside_the_outlines_does_not_matter(tmp_path):
    path = tmp_path / "a.gpkg"
    glaciers(3).to_file(path, layer="outlines")
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=4326).to_file(path, layer="stakes")
    assert len(read_outlines(path)) == 3
    with pytest.raises(AcquireError, match=r"outlines need polygons, .* has \['Point'\]"):
        read_outlines(path, layer="stakes")


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "parquet", "geojson"])
def test_row_numbers_do_not_depend_on_what_is_read(tmp_path, suffix):
    frame = glaciers().drop(columns="RGIId")
    path = tmp_path / f"mine.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    assert read_outlines(path)["rgi_id"].tolist() == [f"mine-{n}" for n in range(1, 7)]
    some = [
        read_outlines(path, name="Glacier 4"),
        read_outlines(path, ids=["mine-4"]),
        read_outlines(path, within=(13.1, 46.1, 13.2, 46.2)),
    ]
    for one in some:
        assert one["rgi_id"].tolist() == ["mine-4"]
        assert one.geometry[0].equals(frame.geometry[3])


def test_only_the_wanted_rows_are_read(tmp_path, monkeypatch):
    """Of their geometry, that is; names are looked up in a table without."""
    glaciers(50).to_file(tmp_path / "a.gpkg")
    read = []
    whole = pyogrio.read_dataframe

    def counted(*args, **options):
        out = whole(*args, **options)
        read.append((isinstance(out, gpd.GeoDataFrame), len(out)))
        return out

    monkeypatch.setattr(outline_files.pyogrio, "read_dataframe", counted)
    read_outlines(tmp_path / "a.gpkg", ids="RGI60-11.00017")
    assert read == [(False, 50), (True, 1)]
    read.clear()
    read_outlines(tmp_path / "a.gpkg", within=(12.1, 46.1, 13.1, 46.2))
    assert read == [(True, 2)]


def test_many_chosen_rows_are_read_at_once(tmp_path, monkeypatch):
    glaciers(20).to_file(tmp_path / "a.shp")
    (source,) = sources_of(tmp_path / "a.shp")
    numbers = np.array([3, 5, 20])
    few = rows_of(source, None, numbers)
    monkeypatch.setattr(outline_files, "MANY_ROWS", 1)
    many = rows_of(source, None, numbers)
    assert few.index.tolist() == many.index.tolist() == [3, 5, 20]
    assert (few.geometry == many.geometry).all()
    assert table_of(source, ["RGIId"], None).index.tolist() == list(range(1, 21))


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "parquet"])
def test_outlines_at_the_antimeridian_are_found_from_both_sides(tmp_path, suffix):
    frame = gpd.GeoDataFrame(
        {"RGIId": ["a", "b", "c"]},
        geometry=[
            shapely.box(179.5, 71, 179.9, 71.2),
            shapely.box(-179.9, 71, -179.5, 71.2),
            shapely.box(0, 71, 1, 71.2),
        ],
        crs=4326,
    )
    path = tmp_path / f"a.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    out = read_outlines(path, within=(179.6, 70, -179.6, 72))
    assert out["rgi_id"].tolist() == ["a", "b"]
    near = grid.grid_around((179.6, 71, -179.6, 71.1), 100)
    assert len(read_outlines(path, within=near)) == 2


@pytest.mark.parametrize("suffix", ["gpkg", "parquet"])
def test_a_projected_file_and_an_area_in_degrees(tmp_path, suffix):
    frame, path = glaciers().to_crs(32632), tmp_path / f"a.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    out = read_outlines(path, within=(11.1, 46.1, 12.1, 46.2))
    assert out["rgi_id"].tolist() == ["RGI60-11.00002", "RGI60-11.00003"]


def test_an_area_without_outlines(tmp_path):
    glaciers().to_file(tmp_path / "a.gpkg")
    with pytest.raises(
        AcquireError, match=r"no outline within the area \(0.000, 0.000, 1.000, 1.000\)"
    ):
        read_outlines(tmp_path / "a.gpkg", within=(0, 0, 1, 1))


def test_text_in_another_encoding_than_the_file_states(tmp_path):
    frame = glaciers(2)
    frame["Name"] = ["Glaciär", "Rhône"]
    frame["Année"] = 2003
    frame.to_file(tmp_path / "a.shp", encoding="ISO-8859-1")
    (tmp_path / "a.cpg").write_text("UTF-8")
    out = read_outlines(tmp_path / "a.shp")
    assert out["glac_name"].tolist() == ["Glaciär", "Rhône"]
    assert out["src_date"].dt.year.tolist() == [2003, 2003]
    assert read_outlines(tmp_path / "a.shp", name="rhône")["rgi_id"].tolist() == ["RGI60-11.00002"]


def test_years_of_a_folder_are_read_together(real_data):
    out = read_outlines(real_data("huila-outlines"))
    assert out["source"].nunique() == 11
    assert out["src_date"].dt.year.tolist() == [
        1989, 1997, 1999, 2000, 2001, 2002, 2005, 2008, 2009, 2011, 2012,
    ]  # fmt: skip
    assert set(out["src_precision"]) == {"year"}
    # Their own areas are planar; this projection's centre is some 200 km away.
    np.testing.assert_allclose(out.area / 1e6, out["area_km2"], rtol=1e-4)
    np.testing.assert_allclose(grid.ground_area(out), out["area_km2"], rtol=2e-3)


def test_rows_far_from_an_area_are_left_out_of_a_geoparquet_file(tmp_path):
    glaciers(50).to_parquet(tmp_path / "a.parquet")
    (source,) = sources_of(tmp_path / "a.parquet")
    assert len(rows_of(source, (12.1, 46.1, 13.1, 46.2))) == 2
    # Where an area has no place in the file's CRS, all rows stay to be looked at.
    glaciers(50).to_crs(3034).to_parquet(tmp_path / "b.parquet")
    (source,) = sources_of(tmp_path / "b.parquet")
    assert len(rows_of(source, (0, -90, 20, -85))) == 50
