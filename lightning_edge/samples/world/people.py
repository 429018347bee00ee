"""People on foot and on two wheels, made of limbs that move with their step.

Adults are 1.5 to 1.95 m tall and children from 1.1 m; proportions are the canon of 7.5 heads.
"""

from dataclasses import replace

import numpy as np

from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.panels import Panel, Shape, Vector, ellipse, limb
from lightning_edge.samples.world.textures import Texture

SKIN: tuple[Vector, ...] = ((0.86, 0.66, 0.54), (0.78, 0.57, 0.44), (0.55, 0.38, 0.27), (0.36, 0.24, 0.17))
HAIR: tuple[Vector, ...] = ((0.12, 0.10, 0.09), (0.28, 0.19, 0.12), (0.55, 0.42, 0.25), (0.6, 0.6, 0.58))
DARK_CLOTHES: tuple[Vector, ...] = (
    (0.16, 0.17, 0.22), (0.22, 0.28, 0.42), (0.14, 0.14, 0.14), (0.35, 0.32, 0.27), (0.42, 0.42, 0.44),
)  # fmt: skip
CLOTHES: tuple[Vector, ...] = (
    *DARK_CLOTHES, (0.7, 0.7, 0.7), (0.62, 0.14, 0.14), (0.2, 0.4, 0.3), (0.75, 0.62, 0.3), (0.3, 0.42, 0.65),
    (0.85, 0.85, 0.82), (0.5, 0.25, 0.4),
)  # fmt: skip


def pedestrian(rng: np.random.Generator, is_walking: bool) -> Shape:
    """Someone on foot, facing forward."""
    tall = rng.uniform(1.1, 1.4) if rng.random() < 0.1 else float(np.clip(rng.normal(1.71, 0.09), 1.5, 1.95))
    build = rng.uniform(0.85, 1.2) * tall / 1.7
    trousers, shirt = _pick(rng, DARK_CLOTHES), _pick(rng, CLOTHES)
    step = rng.uniform(0.36, 0.5) if is_walking else 0.0
    legs = [_swinging(trousers, (0, y, 0.5 * tall), 0.5 * tall, 0.17 * build, 0.11 * build, step, phase)
            for y, phase in ((0.09, 0.0), (-0.09, np.pi))]  # fmt: skip
    arms = [_swinging(shirt, (0, y * build, 0.8 * tall), 0.36 * tall, 0.12 * build, 0.08 * build, step, phase)
            for y, phase in ((0.24, np.pi), (-0.24, 0.0))]  # fmt: skip
    body = limb(
        Label.PERSON, Texture.CLOTH, shirt, (0, 0, 0.46 * tall), (0, 0, 0.84 * tall), 0.36 * build, 0.42 * build
    )
    return Shape([*legs, arms[0], body, arms[1], *_head(rng, Label.PERSON, (0, 0, 0.92 * tall), 0.075 * tall)])


def rider(rng: np.random.Generator) -> Shape:
    """Someone sitting on a bicycle or motorcycle whose saddle is 0.92 m high."""
    trousers, shirt = _pick(rng, DARK_CLOTHES), _pick(rng, CLOTHES)
    legs = [replace(_swinging(trousers, (-0.2, y, 0.98), 0.8, 0.18, 0.11, 0.32, phase), label=Label.RIDER)
            for y, phase in ((0.1, 0.0), (-0.1, np.pi))]  # fmt: skip
    body = limb(Label.RIDER, Texture.CLOTH, shirt, (-0.25, 0, 0.9), (0.02, 0, 1.5), 0.34, 0.42)
    arms = [limb(Label.RIDER, Texture.CLOTH, shirt, (0.0, y, 1.42), (0.36, y, 1.02), 0.11, 0.08) for y in (0.2, -0.2)]
    return Shape([*legs, arms[0], body, arms[1], *_head(rng, Label.RIDER, (0.07, 0, 1.64), 0.125)])


def _pick(rng: np.random.Generator, colors: tuple[Vector, ...]) -> Vector:
    color = np.multiply(colors[int(rng.integers(len(colors)))], rng.uniform(0.8, 1.2, 3))
    return tuple(color.tolist())


def _swinging(
    tint: Vector, joint: Vector, length: float, width: float, end_width: float, swing_rad: float, phase_rad: float
) -> Panel:
    end = (joint[0], joint[1], joint[2] - length)
    rod = limb(Label.PERSON, Texture.CLOTH, tint, joint, end, width, end_width)
    return replace(rod, swing_rad=swing_rad, swing_phase_rad=float(phase_rad))


def _head(rng: np.random.Generator, label: Label, center: Vector, radius: float) -> list[Panel]:
    skin, hair = _pick(rng, SKIN), _pick(rng, HAIR)
    face = Panel(label, Texture.CLOTH, skin, (ellipse(0, 0, 0.78 * radius, radius),), center,
                 tile_m=(2 * radius, 1.0), offset=(0.5, 0.0), is_limb=True)  # fmt: skip
    angle = np.linspace(0.0, np.pi, 7)
    cap = np.stack([0.84 * radius * np.cos(angle), radius * (0.15 + 0.95 * np.sin(angle))], axis=1)
    return [face, replace(face, tint=hair, outlines=(cap,))]
