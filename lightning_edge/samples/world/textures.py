"""Materials, painted once into one picture from which a frame samples all its pixels.

Every material is a tile that repeats without a seam, stored in six sizes (a mip chain), so that distant surfaces are
averaged instead of flickering. The fourth channel says how strongly a texel glows when lamps are on.
"""

from enum import IntEnum
from functools import cache

import cv2
import numpy as np

TILE_PX = 128
LEVELS = 6
ROW_PX = TILE_PX + 2
LEVEL_PX = np.array([TILE_PX >> level for level in range(LEVELS)], np.float32)
LEVEL_X = np.cumsum([1.0, *(LEVEL_PX[:-1] + 2)]).astype(np.float32)


class Texture(IntEnum):
    """Materials."""

    PLAIN = 0
    ASPHALT = 1
    PAVING = 2
    GRASS = 3
    LEAVES = 4
    CLOUDS = 5
    ROD = 6
    CLOTH = 7
    BRICK = 8
    PLASTER = 9
    BARS = 10
    ROOF = 11
    SHOP = 12
    PAINT = 13
    GLASS = 14
    WHEEL = 15
    BUS_SIDE = 16
    OFFICE = 17
    FLATS = 18
    HOUSE = 19
    OLD_TOWN = 20
    BLOCK = 21
    BOARD = 22
    COBBLE = 23


def atlas_y(texture: int | np.ndarray) -> np.ndarray:
    """First row of a material's tiles in the atlas, pixels."""
    return np.asarray(texture) * np.float32(ROW_PX) + 1


@cache
def atlas() -> np.ndarray:
    """All materials in all sizes: uint8 ``[rows, columns, 4]``, RGB and glow."""
    width = int(LEVEL_X[-1] + LEVEL_PX[-1] + 1)
    picture = np.zeros((ROW_PX * len(Texture), width, 4), np.uint8)
    for texture in Texture:
        tile = np.zeros((TILE_PX, TILE_PX, 4), np.float32)
        _PAINTERS[texture](tile, np.random.default_rng(1000 + texture))
        for level in range(LEVELS):
            size = int(LEVEL_PX[level])
            small = cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA)
            padded = np.pad(small, ((1, 1), (1, 1), (0, 0)), mode="wrap")
            top, left = texture * ROW_PX, int(LEVEL_X[level]) - 1
            picture[top : top + size + 2, left : left + size + 2] = np.clip(padded * 255 + 0.5, 0, 255)
    return picture


def noise(rng: np.random.Generator, octaves: tuple[int, ...], size: int = TILE_PX) -> np.ndarray:
    """Smooth noise that repeats without a seam: mean 0, about unit deviation; octaves are cells per tile."""
    total = np.zeros((size, size), np.float32)
    for weight, cells in enumerate(octaves, start=1):
        grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 2, mode="wrap")
        step = size // cells
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += fine[2 * step : 2 * step + size, 2 * step : 2 * step + size] / weight
    return total / total.std()


def _fill(tile: np.ndarray, color: tuple[float, float, float], grain: np.ndarray, strength: float) -> None:
    tile[..., :3] = np.asarray(color, np.float32) * (1 + strength * grain[..., None])


def _plain(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.9, 0.9, 0.9), noise(rng, (8, 32)), 0.03)


def _asphalt(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.36, 0.36, 0.37), noise(rng, (4, 2, 16, 64)), 0.09)
    for _ in range(4):
        bends = np.cumsum(rng.normal(rng.normal(0, 3, 2), 3.0, (9, 2)), axis=0) + rng.uniform(30, 98, 2)
        cv2.polylines(tile, [bends.astype(np.int32)], False, (0.29, 0.29, 0.30, 0), 1, cv2.LINE_AA)
    for _ in range(3):
        x, y = rng.integers(5, 90, 2)
        patch = tile[y : y + rng.integers(10, 35), x : x + rng.integers(8, 30)]
        patch[..., :3] *= rng.uniform(0.8, 1.15)


def _paving(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.55, 0.53, 0.51), noise(rng, (4, 16, 64)), 0.07)
    for row in range(16):
        for column in range(16):
            tile[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8, :3] *= rng.uniform(0.9, 1.1)
        tile[row * 8, :, :3] *= 0.75
        tile[row * 8 : row * 8 + 8, ::8, :3] *= 0.8


def _cobble(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.42, 0.40, 0.39), noise(rng, (8, 32, 64)), 0.12)
    for row in range(32):
        start = 2 * (row % 2)
        for column in range(32):
            stone = tile[row * 4 : row * 4 + 4, (column * 4 + start) % 128 : (column * 4 + start) % 128 + 4, :3]
            stone *= rng.uniform(0.8, 1.2)
        tile[row * 4, :, :3] *= 0.7


def _grass(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.34, 0.42, 0.20), noise(rng, (4, 8, 32, 64)), 0.20)
    tile[..., 0] *= 1 + 0.14 * noise(rng, (4, 2))


def _leaves(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.30, 0.40, 0.18), noise(rng, (8, 16, 32)), 0.34)
    tile[..., :3] *= 1 + 0.16 * noise(rng, (4, 64))[..., None]


def _clouds(tile: np.ndarray, rng: np.random.Generator) -> None:
    cover = np.clip(0.5 + 0.5 * noise(rng, (2, 4, 8, 16)), 0, 1)[..., None]
    tile[..., :3] = (1 - cover) * np.array([0.52, 0.68, 0.92], np.float32) + cover * np.array([0.97, 0.97, 0.98])


def _rod(tile: np.ndarray, rng: np.random.Generator) -> None:
    across = np.sqrt(np.clip(1 - np.linspace(-0.98, 0.98, TILE_PX) ** 2, 0, 1)).astype(np.float32)
    tile[..., :3] = (0.35 + 0.6 * across)[None, :, None] * (1 + 0.05 * noise(rng, (8, 32))[..., None])


def _cloth(tile: np.ndarray, rng: np.random.Generator) -> None:
    across = np.sqrt(np.clip(1 - np.linspace(-0.85, 0.85, TILE_PX) ** 2, 0, 1)).astype(np.float32)
    tile[..., :3] = (0.4 + 0.55 * across)[None, :, None] * (1 + 0.10 * noise(rng, (4, 8, 16))[..., None])


def _brick(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.72, 0.68, 0.64), noise(rng, (4, 16)), 0.05)
    for row in range(32):
        for column in range(16):
            start = (column * 8 + 4 * (row % 2)) % TILE_PX
            tile[row * 4 + 1 : row * 4 + 4, start + 1 : start + 8, :3] *= rng.uniform(0.75, 1.05)


def _plaster(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.86, 0.85, 0.83), noise(rng, (2, 4, 8, 64)), 0.055)
    tile[..., :3] *= (1 - 0.10 * np.clip(noise(rng, (16, 2)), 0, 2))[..., None]


def _bars(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.42, 0.45, 0.38), noise(rng, (4, 8, 16)), 0.22)
    for x in range(0, TILE_PX, 16):
        tile[:, x + 4 : x + 10, :3] = 0.85
    tile[8:18, :, :3] = 0.8
    tile[-22:-12, :, :3] = 0.8


def _roof(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.62, 0.60, 0.58), noise(rng, (4, 16, 32)), 0.10)
    tile[::8, :, :3] *= 0.7
    tile[1::8, :, :3] *= 1.15


def _shop(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.62, 0.60, 0.58), noise(rng, (4, 8)), 0.05)
    left = 0
    while left < TILE_PX - 12:
        width = int(rng.integers(22, 44))
        right = min(left + width, TILE_PX) - 3
        color = rng.uniform(0.15, 0.75, 3)
        tile[96:118, left + 2 : right, :3] = color
        glow = rng.uniform(0.3, 1.0) if rng.random() < 0.7 else 0.0
        tile[14:92, left + 4 : right - 2] = (*(rng.uniform(0.14, 0.32) * np.array([1, 1.03, 1.1])), glow)
        for _ in range(5):
            x, y = rng.integers(left + 4, max(right - 6, left + 5)), rng.integers(14, 70)
            tile[y : y + 14, x : min(x + 5, right - 2), :3] = rng.uniform(0.15, 0.6, 3)
        left += width


def _paint(tile: np.ndarray, rng: np.random.Generator) -> None:
    height = np.linspace(0, 1, TILE_PX, dtype=np.float32)
    shine = 0.62 + 0.30 * np.clip((height - 0.35) * 2.2, 0, 1) - 0.12 * (np.abs(height - 0.45) < 0.03)
    tile[..., :3] = shine[:, None, None] * (1 + 0.04 * noise(rng, (4, 8))[..., None])
    tile[: TILE_PX // 10, :, :3] *= 0.45
    tile[:, 52:54, :3] *= 0.75


def _glass(tile: np.ndarray, rng: np.random.Generator) -> None:
    height = np.linspace(0, 1, TILE_PX, dtype=np.float32)
    tile[..., :3] = (0.14 + 0.28 * height)[:, None, None] * np.array([0.9, 1.0, 1.1], np.float32)
    tile[..., :3] *= 1 + 0.35 * noise(rng, (2, 4))[..., None]


def _wheel(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.10, 0.10, 0.11), noise(rng, (16, 32)), 0.1)
    cv2.circle(tile, (64, 64), 38, (0.62, 0.62, 0.64, 0), -1, cv2.LINE_AA)
    for turn in range(5):
        angle = turn * 2 * np.pi / 5
        end = (int(64 + 36 * np.cos(angle)), int(64 + 36 * np.sin(angle)))
        cv2.line(tile, (64, 64), end, (0.25, 0.25, 0.26, 0), 9, cv2.LINE_AA)


def _bus_side(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.86, 0.86, 0.86), noise(rng, (2, 8)), 0.03)
    tile[60:112, :, :3] = 0.16
    for x in range(0, TILE_PX, 32):
        tile[62:110, x + 2 : x + 30, :3] = rng.uniform(0.16, 0.36)
        tile[62:110, x + 2 : x + 30, 3] = 0.55
    tile[40:46, :, :3] *= 0.6


def _board(tile: np.ndarray, rng: np.random.Generator) -> None:
    _fill(tile, (0.8, 0.8, 0.8), noise(rng, (4, 8)), 0.05)
    for y in range(16, 112, 20):
        cv2.line(tile, (14, y), (int(rng.integers(60, 112)), y), (0.25, 0.25, 0.3, 0), 7)


def _windows(
    tile: np.ndarray, rng: np.random.Generator, columns: int, rows: int, share: tuple[float, float], frame: float
) -> None:
    cell_x, cell_y = TILE_PX // columns, TILE_PX // rows
    for row in range(rows):
        for column in range(columns):
            width, height = int(cell_x * share[0]), int(cell_y * share[1])
            x = column * cell_x + (cell_x - width) // 2
            y = row * cell_y + (cell_y - height) // 2
            tile[y - 1 : y + height + 1, x - 1 : x + width + 1, :3] = frame
            dark = rng.uniform(0.12, 0.38)
            glow = rng.uniform(0.4, 1.0) if rng.random() < 0.3 else 0.0
            tile[y : y + height, x : x + width] = (dark * 0.92, dark, dark * 1.1, glow)
            tile[y + height // 2 :, x : x + width, :3][: height - height // 2] *= rng.uniform(0.9, 1.5)
            if rng.random() < 0.4:
                tile[y + height - height // 3 : y + height, x : x + width, :3] = rng.uniform(0.5, 0.85)
            tile[y : y + height, x + width // 2, :3] = frame


def _facade(
    tile: np.ndarray, rng: np.random.Generator, columns: int, rows: int, share: tuple[float, float], frame: float
) -> None:
    _plaster(tile, rng)
    for row in range(rows):
        y = row * TILE_PX // rows
        tile[y : y + 2, :, :3] *= 0.8
    _windows(tile, rng, columns, rows, share, frame)


def _office(tile: np.ndarray, rng: np.random.Generator) -> None:
    _facade(tile, rng, 4, 4, (0.86, 0.62), 0.55)


def _flats(tile: np.ndarray, rng: np.random.Generator) -> None:
    _facade(tile, rng, 4, 4, (0.5, 0.55), 0.95)


def _house(tile: np.ndarray, rng: np.random.Generator) -> None:
    _brick(tile, rng)
    _windows(tile, rng, 4, 4, (0.44, 0.5), 0.92)


def _old_town(tile: np.ndarray, rng: np.random.Generator) -> None:
    _facade(tile, rng, 4, 4, (0.4, 0.66), 0.7)


def _block(tile: np.ndarray, rng: np.random.Generator) -> None:
    _facade(tile, rng, 8, 4, (0.55, 0.5), 0.45)


_PAINTERS = {
    Texture.PLAIN: _plain, Texture.ASPHALT: _asphalt, Texture.PAVING: _paving, Texture.GRASS: _grass,
    Texture.LEAVES: _leaves, Texture.CLOUDS: _clouds, Texture.ROD: _rod, Texture.CLOTH: _cloth,
    Texture.BRICK: _brick, Texture.PLASTER: _plaster, Texture.BARS: _bars, Texture.ROOF: _roof,
    Texture.SHOP: _shop, Texture.PAINT: _paint, Texture.GLASS: _glass, Texture.WHEEL: _wheel,
    Texture.BUS_SIDE: _bus_side, Texture.OFFICE: _office, Texture.FLATS: _flats, Texture.HOUSE: _house,
    Texture.OLD_TOWN: _old_town, Texture.BLOCK: _block, Texture.BOARD: _board, Texture.COBBLE: _cobble,
}  # fmt: skip
