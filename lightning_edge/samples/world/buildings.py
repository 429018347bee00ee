"""Houses as walls with windows, a ground floor and a roof."""

import numpy as np

from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.panels import FORWARD, Panel, Shape, Vector, rectangle
from lightning_edge.samples.world.textures import Texture

FACADES = (Texture.OFFICE, Texture.FLATS, Texture.HOUSE, Texture.OLD_TOWN, Texture.BLOCK)
WALL_TINTS: tuple[Vector, ...] = (
    (0.95, 0.93, 0.88), (0.90, 0.80, 0.62), (0.80, 0.62, 0.50), (0.72, 0.70, 0.68), (0.85, 0.85, 0.88),
    (0.62, 0.42, 0.34), (0.88, 0.84, 0.70), (0.60, 0.62, 0.64), (0.75, 0.80, 0.74), (0.55, 0.50, 0.45),
)  # fmt: skip
STOREY_M = 3.1
GROUND_FLOOR_M = 3.6


def building(rng: np.random.Generator, width_m: float, storeys: int) -> Shape:
    """A house along x whose facade looks to the right (-y) and lies on y = 0."""
    texture = FACADES[int(rng.integers(len(FACADES)))]
    tint = tuple((np.array(WALL_TINTS[int(rng.integers(len(WALL_TINTS)))]) * rng.uniform(0.8, 1.05)).tolist())
    height, depth, half = GROUND_FLOOR_M + STOREY_M * (storeys - 1), rng.uniform(8, 13), width_m / 2
    bay = rng.uniform(2.6, 3.6)
    tile = (4 * bay, 4 * STOREY_M)
    offset = (float(rng.integers(4)) / 4, -GROUND_FLOOR_M / tile[1] + float(rng.integers(4)) / 4)

    def upright(origin: Vector, axis_u: Vector, span: float, low: float, high: float, material: Texture) -> Panel:
        return Panel(
            Label.BUILDING, material, tint, (rectangle(0, low, span, high),), origin, axis_u, tile_m=tile, offset=offset
        )

    gable = Texture.PLASTER if rng.random() < 0.5 else texture
    panels = [
        upright((half, 0, 0), (0.0, 1.0, 0.0), depth, 0, height, gable),
        upright((-half, depth, 0), (0.0, -1.0, 0.0), depth, 0, height, gable),
        upright((-half, 0, 0), FORWARD, width_m, GROUND_FLOOR_M, height, texture),
        _ground_floor(rng, tint, texture, width_m),
    ]
    return Shape([*panels, *_roof(rng, width_m, height, depth)])


def _ground_floor(rng: np.random.Generator, tint: Vector, texture: Texture, width: float) -> Panel:
    is_shop = rng.random() < 0.5
    offset = (float(rng.random()), 0.0)
    tile = (rng.uniform(9, 14), GROUND_FLOOR_M) if is_shop else (12.0, 4 * GROUND_FLOOR_M)
    return Panel(Label.BUILDING, Texture.SHOP if is_shop else texture, tint, (rectangle(0, 0, width, GROUND_FLOOR_M),),
                 (-width / 2, 0, 0), FORWARD, tile_m=tile, offset=offset)  # fmt: skip


def _roof(rng: np.random.Generator, width: float, height: float, depth: float) -> list[Panel]:
    if rng.random() < 0.4:
        return []
    pitch, length = rng.uniform(0.5, 0.9), depth / 2
    tint: Vector = ((0.62, 0.32, 0.24), (0.38, 0.37, 0.38), (0.5, 0.3, 0.22))[int(rng.integers(3))]
    axis_v = (0.0, float(np.cos(pitch)), float(np.sin(pitch)))
    slope = Panel(Label.BUILDING, Texture.ROOF, tint, (rectangle(0, 0, width, length / np.cos(pitch)),),
                  (-width / 2, 0, height), FORWARD, axis_v, (3.0, 3.0))  # fmt: skip
    top = float(length * np.tan(pitch))
    gable = np.array([(0, height), (depth, height), (depth / 2, height + top)])
    ends = [
        Panel(Label.BUILDING, Texture.PLASTER, (0.8, 0.77, 0.7), (gable,), origin, axis_u)
        for origin, axis_u in (((width / 2, 0, 0), (0.0, 1.0, 0.0)), ((-width / 2, depth, 0), (0.0, -1.0, 0.0)))
    ]
    return [*ends, slope]
