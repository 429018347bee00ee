"""Cars, lorries, buses and two-wheelers as painted bodies.

Sizes are those of ordinary models: compact to estate cars 3.8 to 5.0 m long and 1.7 to 1.9 m wide, city buses 12 m by
2.55 m by 3.0 m (the widest that EU directive 96/53/EC allows), bicycle wheels 0.70 m.
"""

from dataclasses import replace

import numpy as np

from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.panels import Panel, Shape, Vector, ellipse, extrude, limb, rectangle, sides
from lightning_edge.samples.world.textures import Texture

CAR_COLORS: tuple[Vector, ...] = (
    (0.92, 0.92, 0.93), (0.10, 0.10, 0.11), (0.30, 0.31, 0.33), (0.62, 0.63, 0.65), (0.75, 0.76, 0.78),
    (0.14, 0.18, 0.34), (0.45, 0.09, 0.10), (0.18, 0.28, 0.22), (0.55, 0.48, 0.36), (0.20, 0.36, 0.58),
)  # fmt: skip
GLASS: Vector = (0.75, 0.85, 0.95)
RED: Vector = (0.75, 0.08, 0.07)
WHITE: Vector = (1.0, 1.0, 0.95)

_SEDAN = np.array([(-0.5, 0.17), (-0.5, 0.6), (-0.47, 0.68), (-0.34, 0.7), (-0.2, 0.97), (0.06, 1.0), (0.24, 0.68),
                   (0.46, 0.57), (0.5, 0.45), (0.5, 0.17)])  # fmt: skip
_HATCH = np.array([(-0.5, 0.17), (-0.5, 0.52), (-0.47, 0.66), (-0.37, 0.97), (0.04, 1.0), (0.25, 0.66),
                   (0.46, 0.55), (0.5, 0.42), (0.5, 0.17)])  # fmt: skip
_ESTATE = np.array([(-0.5, 0.17), (-0.5, 0.55), (-0.49, 0.66), (-0.42, 0.97), (0.04, 1.0), (0.23, 0.67),
                    (0.46, 0.57), (0.5, 0.44), (0.5, 0.17)])  # fmt: skip
_VAN = np.array([(-0.5, 0.14), (-0.5, 0.5), (-0.495, 0.62), (-0.48, 1.0), (0.26, 1.0), (0.4, 0.6), (0.48, 0.5),
                 (0.5, 0.36), (0.5, 0.14)])  # fmt: skip
_LORRY = np.array([(-0.5, 0.16), (-0.5, 1.0), (0.24, 1.0), (0.24, 0.84), (0.42, 0.84), (0.49, 0.46), (0.5, 0.12)])


def car(rng: np.random.Generator) -> Shape:
    """A passenger car of random build and color."""
    build = int(rng.integers(4))
    profile, size, window = (
        (_SEDAN, (4.6, 1.80, 1.45), [(-0.30, 0.71), (-0.19, 0.93), (0.05, 0.95), (0.20, 0.70)]),
        (_HATCH, (4.0, 1.74, 1.48), [(-0.42, 0.68), (-0.35, 0.92), (0.03, 0.94), (0.21, 0.68)]),
        (_ESTATE, (4.6, 1.80, 1.50), [(-0.46, 0.69), (-0.41, 0.91), (0.03, 0.93), (0.19, 0.69)]),
        (_VAN, (4.8, 1.86, 1.90), [(-0.10, 0.62), (-0.10, 0.9), (0.26, 0.9), (0.36, 0.62)]),
    )[build]
    scale = np.multiply(size, rng.uniform(0.96, 1.04, 3))
    paint: Vector = CAR_COLORS[int(rng.choice(len(CAR_COLORS), p=_COLOR_SHARES))]
    front_glass = len(profile) - 5 if build != 3 else 4
    return _body(Label.CAR, paint, profile, scale, {2 if build != 0 else 3, front_glass}, np.array(window))


_COLOR_SHARES = np.array([0.17, 0.19, 0.18, 0.12, 0.11, 0.08, 0.06, 0.03, 0.03, 0.03])


def _body(
    label: Label, paint: Vector, profile: np.ndarray, size: np.ndarray, glass: set[int], window: np.ndarray
) -> Shape:
    """Painted body with glass strips across (by index in the profile), side windows, wheels and lights."""
    length, width, height = size.tolist()
    outline = profile * (length, height)
    panels = extrude(label, Texture.PAINT, paint, outline, width)
    panels = [replace(p, tile_m=(4.0, height)) for p in panels]
    strips, flanks = panels[:-2], panels[-2:]
    for index in glass:
        pane = replace(strips[index], texture=Texture.GLASS, tint=GLASS, tile_m=(width, height / 2))
        strips[index] = pane
    window = window * (length, height)
    pillar = window[:, 0].mean()
    panes = [np.column_stack([np.minimum(window[:, 0], pillar - 0.05), window[:, 1]]),
             np.column_stack([np.maximum(window[:, 0], pillar + 0.05), window[:, 1]])]  # fmt: skip
    side_glass = [replace(p, tile_m=(2.0, height)) for p in sides(label, Texture.GLASS, GLASS, tuple(panes), width)]
    ends = _ends(label, length, width, height * profile[1, 1] if profile[1, 1] < 0.9 else 1.0)
    return Shape([*strips, *ends, *flanks, *side_glass, *_wheels(label, length, width, 0.32 * max(1.0, height / 2.2))])


def _ends(label: Label, length: float, width: float, top: float) -> list[Panel]:
    """Lamps, bumpers and plates at the rear and the front."""
    half, lamp = width / 2, min(0.85 * top, 0.95)
    pair = (
        rectangle(-half + 0.06, lamp - 0.22, -half + 0.3, lamp),
        rectangle(half - 0.3, lamp - 0.22, half - 0.06, lamp),
    )
    low = (rectangle(-half, 0.22, half, 0.42),)
    plate = (rectangle(-0.26, 0.45, 0.26, 0.56),)
    panels = []
    for x, axis_u, color, glow in (
        (-length / 2, (0.0, -1.0, 0.0), RED, 0.7),
        (length / 2, (0.0, 1.0, 0.0), WHITE, 2.5),
    ):
        origin = (x + np.sign(x) * 0.01, 0.0, 0.0)
        panels.append(Panel(label, Texture.PLAIN, (0.09, 0.09, 0.1), low, origin, axis_u))
        panels.append(Panel(label, Texture.PLAIN, (0.95, 0.95, 0.8), plate, origin, axis_u))
        panels.append(Panel(label, Texture.PLAIN, color, pair, origin, axis_u, glow=glow))
    return panels


def _wheels(label: Label, length: float, width: float, radius: float) -> list[Panel]:
    outlines = tuple(ellipse(x * length, radius, radius, radius, 12) for x in (-0.31, 0.31))
    panels = []
    for x, panel in ((x, p) for x in (-0.31, 0.31) for p in sides(label, Texture.WHEEL, (1, 1, 1), outlines, width)):
        own = tuple(o for o in panel.outlines if abs(o[:, 0].mean() - x * length * panel.axis_u[0]) < 0.01)
        center = x * length * panel.axis_u[0]
        tile = 2.0 * radius
        panels.append(replace(panel, outlines=own, tile_m=(tile, tile), offset=(0.5 - center / tile, 0.0)))
    return panels


def lorry(rng: np.random.Generator) -> Shape:
    """A box lorry: cab and box in different colors."""
    size = np.array([rng.uniform(6.0, 8.5), rng.uniform(2.2, 2.5), rng.uniform(2.9, 3.6)])
    length, width, height = size.tolist()
    box: Vector = ((0.9, 0.9, 0.9), (0.75, 0.78, 0.8), (0.8, 0.65, 0.2), (0.25, 0.4, 0.62))[int(rng.integers(4))]
    cab: Vector = CAR_COLORS[int(rng.integers(len(CAR_COLORS)))]
    window = np.array([(0.29, 0.52), (0.29, 0.76), (0.42, 0.76), (0.46, 0.52)])
    shape = _body(Label.TRUCK, box, _LORRY, size, {4}, window)
    front = np.array([(0.25, 0.16), (0.25, 0.84), (0.42, 0.84), (0.49, 0.46), (0.5, 0.16)]) * (length, height)
    cab_sides = [replace(p, tile_m=(4.0, height)) for p in sides(Label.TRUCK, Texture.PAINT, cab, (front,), width)]
    index = next(i for i, p in enumerate(shape.panels) if p.texture == Texture.GLASS and abs(p.axis_u[0]) == 1.0)
    lower = [replace(p, tint=cab) if i == 5 else p for i, p in enumerate(shape.panels)]
    return Shape([*lower[:index], *cab_sides, *lower[index:]])


def bus(rng: np.random.Generator) -> Shape:
    """A city bus with a band of windows."""
    length, width, height = rng.uniform(10.5, 12.2), 2.55, rng.uniform(2.9, 3.1)
    paint: Vector = ((0.85, 0.2, 0.15), (0.9, 0.75, 0.2), (0.85, 0.86, 0.88), (0.2, 0.42, 0.3))[int(rng.integers(4))]
    profile = np.array([(-0.5, 0.1), (-0.5, 0.55), (-0.5, 0.9), (-0.49, 1.0), (0.49, 1.0), (0.495, 0.85), (0.5, 0.3),
                        (0.5, 0.1)])  # fmt: skip
    window = np.array([(-0.47, 0.45), (-0.47, 0.46), (-0.3, 0.46), (-0.3, 0.45)])
    shape = _body(Label.BUS, paint, profile, np.array([length, width, height]), {1, 5}, window)
    flank = {i for i, p in enumerate(shape.panels) if abs(p.axis_u[0]) == 1.0 and p.texture == Texture.PAINT}
    return Shape([
        replace(p, texture=Texture.BUS_SIDE, tile_m=(6.0, height)) if i in flank else p
        for i, p in enumerate(shape.panels) if not (p.texture == Texture.GLASS and abs(p.axis_u[0]) == 1.0)
    ])  # fmt: skip


def bicycle(rng: np.random.Generator) -> Shape:
    """A bicycle: two tyres and a frame."""
    paint: Vector = tuple(rng.uniform(0.08, 0.7, 3).tolist())
    label, black = Label.BICYCLE, (0.12, 0.12, 0.12)
    rings = tuple(_ring(x, 0.35, 0.35, 0.055) for x in (-0.52, 0.52))
    tubes = tuple(_bar(*ends) for ends in (
        ((-0.52, 0.35), (-0.12, 0.32)), ((-0.12, 0.32), (0.38, 0.78)), ((-0.52, 0.35), (-0.22, 0.8)),
        ((-0.12, 0.32), (-0.26, 0.92)), ((-0.22, 0.78), (0.36, 0.82)), ((0.52, 0.35), (0.36, 0.98)),
    ))  # fmt: skip
    ahead = [limb(label, Texture.ROD, black, (x, 0, 0), (x, 0, 0.7), 0.06) for x in (-0.52, 0.52)]
    bar = limb(label, Texture.ROD, black, (0.36, -0.27, 1.0), (0.36, 0.27, 1.0), 0.05)
    flat = [Panel(label, Texture.PLAIN, color, outlines, is_two_sided=True)
            for color, outlines in ((black, rings), (paint, tubes))]  # fmt: skip
    return Shape([*ahead, *flat, bar])


def motorcycle(rng: np.random.Generator) -> Shape:
    """A scooter or motorcycle."""
    paint: Vector = CAR_COLORS[int(rng.integers(len(CAR_COLORS)))]
    profile = np.array([(-0.85, 0.45), (-0.9, 0.75), (-0.3, 0.78), (0.1, 0.95), (0.45, 1.1), (0.6, 0.8), (0.3, 0.25)])
    label = Label.MOTORCYCLE
    wheels = tuple(ellipse(x, 0.3, 0.3, 0.3, 12) for x in (-0.65, 0.68))
    flat = Panel(label, Texture.PLAIN, (0.1, 0.1, 0.1), wheels, is_two_sided=True)
    ahead = [limb(label, Texture.ROD, (0.15, 0.15, 0.15), (x, 0, 0), (x, 0, 0.6), 0.13) for x in (-0.65, 0.68)]
    lamp = Panel(label, Texture.PLAIN, RED, (ellipse(0, 0.72, 0.09, 0.06),), (-0.92, 0, 0), (0, -1, 0), glow=0.7)
    return Shape([*ahead, flat, *extrude(label, Texture.PLAIN, paint, profile, 0.36), lamp])


def _ring(x: float, z: float, radius: float, thickness: float) -> np.ndarray:
    """A tyre as one polygon: round the outside, back round the inside."""
    outer = ellipse(x, z, radius, radius, 14)
    inner = ellipse(x, z, radius - thickness, radius - thickness, 14)
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


def _bar(start: tuple[float, float], end: tuple[float, float], thickness: float = 0.05) -> np.ndarray:
    way = np.subtract(end, start)
    side = np.array([-way[1], way[0]]) / np.hypot(*way) * thickness / 2
    return np.array([start - side, end - side, end + side, start + side])
