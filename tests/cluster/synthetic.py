"""Outlines of a made-up world with the numbers, sizes and places of the real one.

Numbers and areas: RGI 7.0, glacier product, summary by second-order region (GLIMS-RGI,
rgi_user_guide, "RGI2000-v7.0-G-o2region-summary.csv"). Sizes: areas of a subregion follow a
broken power law between 0.01 km2 (RGI's smallest) and a third of the subregion, flat below its
bend and steep above. The bend is where the mean becomes the subregion's (of a few large ice caps
the smallest is larger instead); the two exponents were chosen so that the world has RGI 7's size
classes: 83.6 % below 1 km2, 13.9 % to 10, 2.1 % to 100, 0.4 % above (rgi_user_guide, summary
statistics). Vertices every 45 m along the edge and a compactness of a third: medians of the
French Alps of 2003 and of RGI 6 at Everest. Places: massifs along the ranges, whose lines are
drawn by hand, roughly; in a massif glaciers lie beside each other and cover two fifths of it.
"""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.integrate import cumulative_trapezoid, trapezoid
from scipy.optimize import brentq

from glaciercube import grid

SMALLEST_KM2 = 0.01
FLAT, STEEP = 0.6, 2.0
LARGEST_SHARE = 0.33
COVER = 0.4
SPACING_M = 45.0
PER_MASSIF = 40
DEGREE_M = 111_195.0

# Subregion, glaciers, km2, width of the range (km), its line (longitude, latitude, ...).
REGIONS = (
    ("01-01", 706, 364, 60, (-152, 68, -142, 69)),
    ("01-02", 5812, 16284, 60, (-154, 61.5, -150, 63, -146, 63.5, -143, 62)),
    ("01-03", 872, 1912, 40, (-169, 53, -160, 55.5, -154, 59)),
    ("01-04", 4529, 12005, 60, (-150, 60, -147, 61.3, -144, 61)),
    ("01-05", 5040, 33178, 80, (-144, 60.7, -140, 60.5, -137, 59.5)),
    ("01-06", 10551, 22964, 80, (-136, 59.5, -133, 58, -130, 56)),
    ("02-01", 1235, 657, 80, (-131, 64, -128, 62)),
    ("02-02", 7390, 8806, 80, (-129, 55, -126, 52, -123, 50)),
    ("02-03", 5063, 4386, 80, (-121, 54, -118, 52.5, -116, 51)),
    ("02-04", 3127, 529, 50, (-121.5, 49, -121.7, 45, -119, 38)),
    ("02-05", 1915, 144, 60, (-114, 49, -110, 45, -109.5, 43)),
    ("03-01", 2573, 27690, 70, (-88, 81.5, -78, 82.3, -68, 82.7)),
    ("03-02", 624, 11852, 60, (-93, 79, -91, 80.5)),
    ("03-03", 902, 21336, 70, (-84, 80, -72, 80.8)),
    ("03-04", 261, 19322, 70, (-82, 78.5, -74, 79)),
    ("03-05", 634, 10042, 50, (-84, 76.8, -80, 77.3)),
    ("03-06", 216, 15000, 50, (-84, 75.3, -80, 75.3)),
    ("03-07", 7, 128, 40, (-116, 75.5, -112, 75.5)),
    ("04-01", 616, 4883, 40, (-80, 73.2, -77, 73.2)),
    ("04-02", 96, 3767, 50, (-74, 70, -72, 69.8)),
    ("04-03", 597, 497, 50, (-84, 73, -80, 72.5)),
    ("04-04", 1953, 8195, 50, (-78, 72.5, -73, 71)),
    ("04-05", 1905, 9431, 50, (-72, 70.8, -68, 69.5)),
    ("04-06", 3036, 7603, 50, (-67.5, 69, -63, 67)),
    ("04-07", 2621, 5907, 50, (-66, 67, -63.5, 65.5)),
    ("04-08", 83, 235, 40, (-67, 62.8, -65, 62.3)),
    ("04-09", 103, 20, 30, (-64, 59, -63, 58)),
    (
        "05-01", 19996, 90482, 60,
        (
            -45, 60.3, -51, 65, -53, 70.5, -56, 74, -68, 77, -60, 81, -38, 83, -22, 80.5,
            -22, 76, -25, 72, -26, 70.5, -33, 68, -40, 65, -44, 60.5,
        ),
    ),
    ("06-01", 568, 11060, 60, (-20, 64.8, -17, 64.4)),
    ("07-01", 1583, 33841, 60, (15, 77.3, 17, 79, 23, 79.6)),
    ("07-02", 83, 117, 8, (-8.5, 71, -8, 71.1)),
    ("08-01", 1832, 1430, 60, (14, 66.5, 18, 68, 22, 70)),
    ("08-02", 1216, 1216, 50, (6.5, 60, 7, 61.7)),
    ("08-03", 362, 302, 30, (8, 61.5, 8.5, 61.7)),
    ("09-01", 412, 12762, 50, (47, 80.5, 63, 80.8)),
    ("09-02", 480, 22132, 50, (56, 74, 60, 76, 67, 76.7)),
    ("09-03", 177, 16701, 50, (94, 80.5, 102, 78.8)),
    ("10-01", 161, 15, 30, (60, 64.5, 66, 68)),
    ("10-02", 394, 64, 80, (92, 69.5, 108, 74.5)),
    ("10-03", 427, 271, 60, (138, 62.5, 147, 65)),
    ("10-04", 3033, 1247, 60, (86, 50, 90, 49, 98, 51.5)),
    ("10-05", 3091, 1041, 60, (157, 52, 160, 57, 172, 62)),
    ("10-06", 44, 4, 30, (178.5, 67.3, 179.95, 67.4, 182, 66.5)),
    ("10-07", 5, 0.5, 10, (137.5, 36, 137.8, 36.6)),
    ("11-01", 4034, 2120, 30, (6.5, 45, 7, 46, 8.2, 46.5, 10, 46.6, 11, 47, 12.7, 47.1)),
    ("11-02", 45, 4, 20, (-0.2, 42.7, 0.7, 42.65)),
    ("12-01", 2181, 1381, 25, (41, 43.5, 43, 43, 46, 42)),
    ("12-02", 94, 25, 40, (41, 41, 44, 37.5, 51, 36.4)),
    ("13-01", 5340, 1954, 50, (67, 39, 72, 39.6)),
    ("13-02", 15744, 10465, 80, (70.5, 39, 73, 38.7, 75, 38.3)),
    ("13-03", 14682, 9299, 80, (71, 42, 77, 42.2, 80, 42.1)),
    ("13-04", 6255, 3083, 60, (80, 44.5, 84, 43.2, 88, 43.7, 94, 43)),
    ("13-05", 7906, 8086, 60, (76, 37, 79, 36, 82, 35.7)),
    ("13-06", 3854, 3212, 60, (85, 36.3, 91, 36, 98, 35.5)),
    ("13-07", 3256, 1666, 50, (95, 39, 99, 38.5, 102, 37.5)),
    ("13-08", 11185, 8221, 120, (81, 34, 86, 34, 91, 33)),
    ("13-09", 7391, 4357, 80, (91, 30.3, 94, 30.7, 97, 30)),
    ("14-01", 6857, 3049, 60, (69, 35.5, 72, 36.3, 73.5, 36.6)),
    ("14-02", 17559, 21675, 70, (73.5, 36.5, 76, 35.9, 78, 35)),
    ("14-03", 13146, 8350, 60, (75, 34, 77.5, 32.5, 80, 30.5)),
    ("15-01", 6127, 6494, 40, (81, 30, 84, 28.6, 88, 27.8)),
    ("15-02", 5503, 5454, 40, (88, 28, 91, 28.1, 94, 28.3)),
    ("15-03", 6957, 4102, 70, (94.5, 29.5, 97, 29, 100, 29.5, 102, 29.6)),
    ("16-01", 3647, 1920, 40, (-73, 11, -77.5, -1, -77.5, -9, -71, -14, -68, -16)),
    ("16-02", 7, 2, 10, (-99, 19.1, -97.3, 19)),
    ("16-03", 36, 4, 5, (37.3, -3.05, 37.4, -3.1)),
    ("16-04", 5, 2, 5, (137.1, -4.05, 137.2, -4.1)),
    ("17-01", 17454, 24040, 60, (-72, -45, -73.5, -47, -73.5, -50, -73, -52.5, -69, -54.6)),
    ("17-02", 13180, 3634, 60, (-69.5, -26, -70, -33, -71, -37, -72, -43)),
    ("18-01", 3018, 886, 30, (168, -44.7, 170.2, -43.6, 171.5, -43)),
    ("19-01", 15, 134, 10, (158.8, -54.7, 158.9, -54.6)),
    ("19-02", 401, 3715, 40, (-61, -62.8, -58, -62, -45, -60.6)),
    ("19-03", 550, 2475, 30, (-38, -54, -36, -54.6)),
    ("19-04", 489, 796, 40, (69, -49.3, 69.5, -49.5)),
    ("19-05", 50, 694, 20, (162.5, -66.3, 164.5, -67.5)),
    ("19-11", 22, 2681, 40, (12, -70, 40, -69)),
    ("19-12", 1, 305, 20, (70, -69, 71, -69)),
    ("19-13", 7, 2685, 40, (93, -66, 101, -66)),
    ("19-14", 54, 652, 60, (163, -77.5, 170, -71.5)),
    ("19-15", 111, 2619, 60, (166, -77.6, 180, -78.5, 190, -79)),
    ("19-16", 63, 17950, 60, (-150, -77, -120, -74)),
    ("19-17", 17, 376, 40, (-105, -74, -101, -73.5)),
    ("19-18", 20, 14861, 60, (-98, -72, -80, -72.5)),
    ("19-19", 123, 61170, 100, (-73, -72, -70, -70)),
    ("19-20", 666, 9288, 50, (-68, -68, -62, -64)),
    ("19-21", 167, 5377, 40, (-58, -64, -57, -63.7)),
    ("19-22", 6, 1780, 50, (-61, -71.5, -60, -70)),
    ("19-24", 14, 5878, 60, (-20, -73, -2, -70.5)),
)  # fmt: skip


def world(count: int = 280_000, seed: int = 0, regions: str = "") -> gpd.GeoDataFrame:
    """Return outlines of a made-up world.

    Parameters
    ----------
    count : int
        Outlines of all regions together.
    seed : int
    regions : str
        Beginning of the codes of the subregions wanted, "11" or "11-01"; all if empty.

    Returns
    -------
    GeoDataFrame
        EPSG:4326, valid, with `rgi_id`, `o2region` and `area_km2`.
    """
    generator = np.random.default_rng(seed)
    chosen = [one for one in REGIONS if one[0].startswith(regions)]
    numbers = _numbers(np.array([one[1] for one in chosen], float), count)
    frames = []
    for (code, real, area, width, line), number in zip(chosen, numbers, strict=True):
        areas = sizes(number, area / real, LARGEST_SHARE * area, generator)
        centres = places(areas, np.reshape(line, (-1, 2)), width, generator)
        ids = [f"SIM-{code}-{n:06d}" for n in range(1, number + 1)]
        shapes = outlines(areas, centres, generator)
        columns = {"rgi_id": ids, "o2region": code, "area_km2": areas.round(4)}
        frames.append(pd.DataFrame(columns).assign(geometry=shapes))
    frame = gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs="EPSG:4326")
    beyond = (np.abs(frame.bounds[["minx", "maxx"]]) > 180).any(axis=1)
    if beyond.any():
        frame.loc[beyond, "geometry"] = grid.geographic(frame[beyond])
    return frame


def sizes(number: int, mean: float, largest: float, generator: np.random.Generator) -> np.ndarray:
    """Return areas (km2) of a broken power law with this mean, the largest first."""
    largest = max(largest, 4 * mean, 2 * SMALLEST_KM2)

    def law(bend, steep, smallest=SMALLEST_KM2):
        areas = np.geomspace(smallest, largest, 4000)
        density = np.where(areas < bend, (areas / bend) ** -FLAT, (areas / bend) ** -steep)
        share = cumulative_trapezoid(density, areas, initial=0)
        return areas, share / share[-1], trapezoid(areas * density, areas) / share[-1]

    def solved(of, low, high):
        return of(brentq(lambda value: of(value)[2] - mean, low, high))

    if law(SMALLEST_KM2, STEEP)[2] > mean:
        areas, shares, _ = solved(lambda s: law(SMALLEST_KM2, s), STEEP, 12)
    elif law(largest, STEEP)[2] > mean:
        ends = np.log([SMALLEST_KM2, largest])
        areas, shares, _ = solved(lambda b: law(np.exp(b), STEEP), *ends)
    else:
        areas, shares, _ = solved(lambda s: law(largest, STEEP, s), SMALLEST_KM2, mean)
    rank = (np.arange(number) + generator.uniform(0, 1, number)) / number
    return np.sort(np.interp(rank, shares, areas))[::-1]


def places(
    areas: np.ndarray, line: np.ndarray, width_km: float, generator: np.random.Generator
) -> np.ndarray:
    """Return centres (longitude, latitude) in massifs along a line; the large in the middle."""
    massifs = max(3, round(len(areas) / PER_MASSIF))
    middle = _along(line, np.sort(generator.uniform(0, 1, massifs)))
    east = DEGREE_M / 1000 * np.cos(np.radians(middle[:, 1:]))
    middle += generator.normal(0, width_km / 2, (massifs, 2)) / np.hstack(
        [east, np.full_like(east, DEGREE_M / 1000)]
    )
    weight = generator.lognormal(0, 1, massifs)
    where = generator.choice(massifs, len(areas), p=weight / weight.sum())
    order = np.lexsort((-areas, where))
    before = np.cumsum(areas[order]) - areas[order]
    starts = np.searchsorted(where[order], np.arange(massifs))
    filled = before - before[np.minimum(starts, len(areas) - 1)][where[order]]
    rank = np.arange(len(areas)) - starts[where[order]]
    radius = np.sqrt((filled + np.where(rank > 0, areas[order], 0) / 2) / (COVER * np.pi))
    angle = rank * np.pi * (3 - np.sqrt(5))
    out = np.empty((len(areas), 2))
    home = middle[where[order]]
    north = home[:, 1] + 1000 * radius * np.sin(angle) / DEGREE_M
    scale = DEGREE_M * np.cos(np.radians(home[:, 1]))
    out[order] = np.column_stack([home[:, 0] + 1000 * radius * np.cos(angle) / scale, north])
    return out


def outlines(areas: np.ndarray, centres: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return polygons of areas (km2) around centres: long, with lobes and a rough edge."""
    edge = np.sqrt(4 * np.pi * areas * 1e6 / 0.32)
    steps = 2.0 ** (np.round(4 * np.log2(np.maximum(edge / SPACING_M, 10))) / 4)
    vertices = np.round(steps).astype(int)
    out = np.empty(len(areas), object)
    for number in np.unique(vertices):
        some = np.flatnonzero(vertices == number)
        x, y = _rings(areas[some], number, generator)
        north = y / DEGREE_M
        east = x / (DEGREE_M * np.cos(np.radians(centres[some, 1:])))
        points = np.stack([centres[some, :1] + east, centres[some, 1:] + north], axis=-1)
        out[some] = shapely.polygons(points)
    return out


def _rings(areas, number, generator):
    """Return x and y (m) of star-shaped rings of exact areas."""
    size = (len(areas), 1)
    angle = np.linspace(0, 2 * np.pi, number, endpoint=False)
    radius = 1 + 0 * angle
    for wave in (2, 3, 4, 5, 6, 7, 11, 17, 29, 47, 83, 151, 307):
        if wave > number / 5:
            break
        phase = generator.uniform(0, 2 * np.pi, size)
        high = generator.uniform(0, 0.7 / wave, size)
        radius = radius + high * np.cos(wave * angle + phase)
    rough = np.minimum(0.1, 15 / np.sqrt(areas * 1e6 / np.pi))[:, np.newaxis]
    radius = np.maximum(radius, 0.2) + rough * generator.uniform(-1, 1, (len(areas), number))
    long = generator.uniform(1, 1.8, size)
    x, y = radius * np.cos(angle) * long, radius * np.sin(angle) / long
    turn = generator.uniform(0, np.pi, size)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    area = np.sum(x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1), axis=1) / 2
    scale = np.sqrt(areas * 1e6 / area)[:, np.newaxis]
    return x * scale, y * scale


def _numbers(real, count):
    """Return whole numbers in proportion, each one at least, that add up to a count."""
    exact = real / real.sum() * count
    whole = np.maximum(1, np.floor(exact).astype(int))
    most = np.argsort(whole - exact, kind="stable")
    for step in range(abs(count - whole.sum())):
        whole[most[step % len(most)]] += 1 if whole.sum() < count else 0
    return whole


def _along(line, shares):
    """Return points at shares of the length of a line."""
    scale = np.cos(np.radians(line[:, 1].mean()))
    length = np.hypot(np.diff(line[:, 0]) * scale, np.diff(line[:, 1]))
    at = np.concatenate([[0], np.cumsum(length)])
    return np.column_stack([np.interp(shares * at[-1], at, line[:, n]) for n in (0, 1)])
