"""What lies on the ground: road, pavements, parking places, grass and markings."""

from itertools import pairwise

import numpy as np

from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.panels import LEFT, Panel, Shape, rectangle
from lightning_edge.samples.world.scene import Footprint, SceneBuilder
from lightning_edge.samples.world.street import Crossing, Profile, Street, near_crossing
from lightning_edge.samples.world.textures import Texture

Generator = np.random.Generator


def add_ground(
    builder: SceneBuilder, street: Street, profile: Profile, crossings: list[Crossing], rng: Generator
) -> None:
    """All that lies flat, as one body."""
    gray = rng.uniform(0.85, 1.15)
    paving = Texture.PAVING if rng.random() < 0.7 else Texture.COBBLE
    grass = tuple(rng.uniform((0.8, 0.85, 0.7), (1.25, 1.1, 1.2)).tolist())
    asphalt = (gray, gray, gray * rng.uniform(0.97, 1.06))
    white = (0.95, 0.95, 0.9)
    left, right = profile.kerb_m(1), profile.kerb_m(-1)
    edge = profile.lanes_edge_m
    side_streets = [_side_street(street, middle, width, 0.0) for middle, width in crossings]
    side_walks = [_side_street(street, middle, width, 2.2) for middle, width in crossings]
    pavements = [*_strip(street, left, profile.pavement_end_m(1)), *_strip(street, -profile.pavement_end_m(-1), -right)]
    kerbs = [*_strip(street, left, left + 0.14), *_strip(street, -right - 0.14, -right)]
    parking = [*_strip(street, edge, left), *_strip(street, -right, -edge)] if max(left, right) > edge else []
    hill = (rectangle(-3000, -3000, 3000, 3000),)
    pieces = [
        (Label.TERRAIN, Texture.GRASS, grass, hill, 5.0),
        (Label.SIDEWALK, paving, (1.0, 1.0, 1.0), [*pavements, *side_walks], 2.4),
        (Label.SIDEWALK, Texture.PLAIN, (0.62, 0.61, 0.6), kerbs, 2.0),
        (Label.ROAD, Texture.ASPHALT, asphalt, [*_strip(street, -right, left), *side_streets], 7.0),
        (Label.ROAD, Texture.COBBLE, (0.95, 0.93, 0.92), parking, 2.4),
        (Label.ROAD, Texture.ASPHALT, asphalt, side_streets, 7.0),
        (Label.ROAD, Texture.PLAIN, white, _markings(street, profile, crossings), 2.0),
    ]
    panels = [
        Panel(label, texture, tint, tuple(outlines), axis_v=LEFT, tile_m=(tile, tile), is_two_sided=True)
        for label, texture, tint, outlines, tile in pieces if len(outlines)
    ]  # fmt: skip
    builder.add(Shape(panels), 0.0, 0.0, footprint=Footprint(0, 0, 0, 0), layer=0)


def _strip(street: Street, d0: float, d1: float, s0: float | None = None, s1: float | None = None) -> list[np.ndarray]:
    """Outlines that cover a strip between two distances from the middle, in pieces of about 16 m."""
    start, end = street.start_m if s0 is None else s0, street.end_m if s1 is None else s1
    cuts = np.linspace(start, end, max(2, int(np.ceil((end - start) / 16)) + 1))
    outlines = []
    for low, high in pairwise(cuts):
        s = np.linspace(low, high, 5 if high - low > 6 else 2)
        near, far = street.to_world(s, np.full_like(s, d0)), street.to_world(s[::-1], np.full_like(s, d1))
        outlines.append(np.column_stack([np.concatenate([near.x, far.x]), np.concatenate([near.y, far.y])]))
    return outlines


def _side_street(street: Street, middle: float, width: float, margin: float) -> np.ndarray:
    """A straight road across: world outline, 70 m to either side."""
    pose = street.to_world(middle, 0.0)
    along = np.array([np.cos(pose.heading), np.sin(pose.heading)]) * (width / 2 + margin)
    across = np.array([-np.sin(pose.heading), np.cos(pose.heading)]) * 70
    center = np.array([float(pose.x), float(pose.y)])
    return np.array(
        [center - along - across, center + along - across, center + along + across, center - along + across]
    )


def _markings(street: Street, profile: Profile, crossings: list[Crossing]) -> list[np.ndarray]:
    """Lane lines (3 m dashes, 6 m gaps, 0.14 m wide, about as the German RMS has them in towns), stop lines, zebras."""
    outlines = []
    lines = [i * profile.lane_m for i in range(-profile.lanes + 1, profile.lanes)]
    for s in np.arange(street.start_m, street.end_m - 3, 9.0):
        if not near_crossing(s, crossings, 5.0):
            for d in lines:
                outlines += _strip(street, d - 0.07, d + 0.07, s, s + 3.0)
    edge = profile.lanes_edge_m
    for middle, width in crossings:
        before = middle - width / 2 - 4.5
        if before > street.start_m + 5:
            outlines += _strip(street, -edge, 0.0, before - 1.5, before - 1.1)
            for d in np.arange(-edge + 0.2, edge - 0.4, 1.0):
                outlines += _strip(street, d, d + 0.5, before, before + 3.0)
    return outlines
