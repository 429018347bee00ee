"""What stands at the roadside: trees, hedges, lamps, signs, traffic lights, fences and walls."""

from dataclasses import replace

import numpy as np

from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.panels import Panel, Shape, Vector, blob, ellipse, limb, rectangle
from lightning_edge.samples.world.textures import Texture

STEEL: Vector = (0.55, 0.57, 0.58)
LAMP_LIGHT: Vector = (1.0, 0.93, 0.75)


def tree(rng: np.random.Generator) -> Shape:
    """A broad-leaved tree, trunk included in the class as in Cityscapes."""
    trunk, radius = rng.uniform(1.8, 3.2), rng.uniform(1.3, 2.6)
    green = _green(rng)
    wood = limb(Label.VEGETATION, Texture.ROD, (0.36, 0.29, 0.23), (0, 0, 0), (0, 0, trunk + radius), 0.34, 0.22)
    panels = [wood]
    for height, shade in ((0.5, 0.72), (1.0, 0.9), (1.5, 1.1)):
        for _ in range(2):
            x, y = rng.normal(0, 0.34 * radius, 2)
            z = trunk + height * radius + rng.normal(0, 0.12 * radius)
            size = radius * rng.uniform(0.65, 0.95)
            panels.append(_foliage(rng, (x, y, z), size, 0.85 * size, tuple(np.multiply(green, shade).tolist())))
    return Shape(panels)


def hedge(rng: np.random.Generator, length_m: float) -> Shape:
    """A row of bushes along x."""
    height, green = rng.uniform(0.6, 1.5), _green(rng)
    panels = []
    for x in np.arange(-length_m / 2 + 0.4, length_m / 2, 0.8):
        shade = tuple(np.multiply(green, rng.uniform(0.75, 1.05)).tolist())
        panels.append(_foliage(rng, (float(x), rng.normal(0, 0.1), 0.45 * height), 0.75, 0.6 * height, shade))
    return Shape(panels)


def _green(rng: np.random.Generator) -> Vector:
    tone = rng.uniform(0.75, 1.2)
    return tuple((tone * rng.uniform((0.7, 0.85, 0.6), (1.25, 1.1, 1.0))).tolist())


def _foliage(rng: np.random.Generator, center: Vector, radius: float, half_height: float, tint: Vector) -> Panel:
    offset = tuple(rng.random(2).tolist())
    outline = blob(rng, radius, half_height)
    return Panel(
        Label.VEGETATION, Texture.LEAVES, tint, (outline,), center, tile_m=(2.2, 2.2), offset=offset, is_limb=True
    )


def lamp_post(rng: np.random.Generator) -> Shape:
    """A street lamp whose arm reaches over the road, to the front of the object."""
    height, reach = rng.uniform(5.5, 8.5), rng.uniform(0.8, 2.0)
    gray = _gray(rng)
    post = limb(Label.POLE, Texture.ROD, gray, (0, 0, 0), (0, 0, height), 0.17, 0.11)
    arm = limb(Label.POLE, Texture.ROD, gray, (0, 0, height - 0.05), (reach, 0, height), 0.1)
    lamp = limb(
        Label.POLE, Texture.PLAIN, LAMP_LIGHT, (reach - 0.3, 0, height - 0.08), (reach + 0.4, 0, height - 0.08), 0.16
    )
    return Shape([post, arm, replace(lamp, glow=2.5)])


def bollard(rng: np.random.Generator) -> Shape:
    """A low post at the kerb."""
    return Shape([limb(Label.POLE, Texture.ROD, _gray(rng), (0, 0, 0), (0, 0, rng.uniform(0.8, 1.1)), 0.13)])


def _gray(rng: np.random.Generator) -> Vector:
    return tuple((np.array(STEEL) * rng.uniform(0.5, 1.2)).tolist())


def traffic_light(rng: np.random.Generator) -> Shape:
    """Signals for traffic that comes towards the front of the object."""
    height = rng.uniform(2.3, 2.8)
    post = limb(Label.POLE, Texture.ROD, _gray(rng), (0, 0, 0), (0, 0, height + 0.9), 0.14)
    panels = [post, *_signal(rng, 0.0, height)]
    if rng.random() < 0.5:
        high = 5.2
        panels += [limb(Label.POLE, Texture.ROD, STEEL, (0, 0, 0), (0, 0, high + 0.6), 0.16),
                   limb(Label.POLE, Texture.ROD, STEEL, (0, 0, high + 0.5), (0, -3.2, high + 0.5), 0.12),
                   *_signal(rng, -2.9, high - 0.3)]  # fmt: skip
    return Shape(panels)


def _signal(rng: np.random.Generator, y: float, z: float) -> list[Panel]:
    case = Panel(Label.TRAFFIC_LIGHT, Texture.PLAIN, (0.09, 0.1, 0.1), (rectangle(-0.2, 0, 0.2, 1.0),), (0.1, y, z),
                 (0.0, 1.0, 0.0), is_two_sided=True)  # fmt: skip
    lit = int(rng.choice([0, 2], p=[0.45, 0.55]))
    panels = [case]
    for index, color in enumerate(((0.95, 0.12, 0.1), (0.9, 0.6, 0.1), (0.1, 0.85, 0.45))):
        tint = color if index == lit else tuple((0.25 * np.array(color)).tolist())
        disc = (ellipse(0, 0.83 - 0.33 * index, 0.12, 0.12, 8),)
        glow = 1.5 if index == lit else 0.0
        panels.append(replace(case, tint=tint, outlines=disc, origin=(0.12, y, z), is_two_sided=False, glow=glow))
    return panels


def traffic_sign(rng: np.random.Generator) -> Shape:
    """One or two plates on a thin post, read from the front."""
    low = rng.uniform(2.0, 2.4)
    plates = 1 + int(rng.random() < 0.35)
    post = limb(Label.POLE, Texture.ROD, _gray(rng), (0, 0, 0), (0, 0, low + 0.8 * plates), 0.08)
    panels = [post]
    for index in range(plates):
        panels += _plate(rng, low + 0.78 * index)
    return Shape(panels)


def direction_sign(rng: np.random.Generator) -> Shape:
    """A big board on two posts."""
    width, color = rng.uniform(1.4, 2.6), ((0.15, 0.3, 0.6), (0.85, 0.75, 0.2), (0.9, 0.9, 0.9))[int(rng.integers(3))]
    posts = [limb(Label.POLE, Texture.ROD, STEEL, (0, y, 0), (0, y, 3.2), 0.1) for y in (-0.35 * width, 0.35 * width)]
    outline = rectangle(-width / 2, 1.9, width / 2, 3.3)
    board = Panel(Label.TRAFFIC_SIGN, Texture.BOARD, color, (outline,), (0.06, 0, 0), (0.0, 1.0, 0.0),
                  tile_m=(width, 1.4), offset=(0.5, -1.9 / 1.4), is_two_sided=True)  # fmt: skip
    return Shape([*posts, board])


def _plate(rng: np.random.Generator, z: float) -> list[Panel]:
    red, white, blue, yellow = (0.78, 0.1, 0.1), (0.95, 0.95, 0.95), (0.12, 0.3, 0.68), (0.95, 0.8, 0.15)
    kind = int(rng.integers(5))
    disc, small = ellipse(0, 0.36, 0.36, 0.36, 14), ellipse(0, 0.36, 0.25, 0.25, 14)
    triangle = np.array([(-0.42, 0.02), (0.42, 0.02), (0.0, 0.74)])
    inner = (triangle - (0.0, 0.26)) * 0.62 + (0.0, 0.26)
    square, diamond = rectangle(-0.33, 0.03, 0.33, 0.69), ellipse(0, 0.36, 0.46, 0.46, 4)
    outer, rim, core, middle = (
        (disc, red, small, white), (triangle, red, inner, white), (square, blue, small * (0.6, 0.6) + (0, 0.14), white),
        (disc, blue, rectangle(-0.05, 0.14, 0.05, 0.58), white),
        (diamond, white, (diamond - (0, 0.36)) * 0.75 + (0, 0.36), yellow),
    )[kind]  # fmt: skip
    back = Panel(
        Label.TRAFFIC_SIGN, Texture.PLAIN, (0.45, 0.46, 0.47), (outer * (-1.0, 1.0),), (0.04, 0, z), (0.0, -1.0, 0.0)
    )
    face = Panel(Label.TRAFFIC_SIGN, Texture.PLAIN, rim, (outer,), (0.05, 0, z), (0.0, 1.0, 0.0))
    return [back, face, replace(face, tint=middle, outlines=(core,), origin=(0.055, 0, z))]


def fence(rng: np.random.Generator, length_m: float) -> Shape:
    """A railing along x."""
    height, tint = rng.uniform(0.9, 1.5), _gray(rng)
    return Shape([_screen(Label.FENCE, Texture.BARS, tint, length_m, height, (1.6, height))])


def wall(rng: np.random.Generator, length_m: float) -> Shape:
    """A garden wall along x."""
    height = rng.uniform(1.2, 2.4)
    texture, tint = ((Texture.BRICK, (0.72, 0.45, 0.36)), (Texture.PLASTER, (0.72, 0.70, 0.66)))[int(rng.integers(2))]
    top = rectangle(-length_m / 2, height - 0.1, length_m / 2, height)
    cap = Panel(Label.WALL, Texture.PLAIN, (0.5, 0.5, 0.48), (top,), is_two_sided=True)
    return Shape([_screen(Label.WALL, texture, tint, length_m, height, (2.5, 2.5)), cap])


def _screen(
    label: Label, texture: Texture, tint: Vector, length: float, height: float, tile: tuple[float, float]
) -> Panel:
    return Panel(label, texture, tint, (rectangle(-length / 2, 0, length / 2, height),), tile_m=tile, is_two_sided=True)


def litter_bin(rng: np.random.Generator) -> Shape:
    """A litter bin or box: class "static"."""
    tint: Vector = ((0.2, 0.25, 0.22), (0.5, 0.25, 0.12), (0.3, 0.3, 0.32))[int(rng.integers(3))]
    return Shape(
        [limb(Label.STATIC, Texture.ROD, tint, (0, 0, 0), (0, 0, rng.uniform(0.8, 1.2)), rng.uniform(0.4, 0.7))]
    )
