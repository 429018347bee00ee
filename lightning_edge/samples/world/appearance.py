"""From geometry to light: materials, lamps, shadows, sky, air and wet ground of one frame.

Colors are kept in three planes, float32 ``[3, height, width]``, white at 1.
"""

import cv2
import numpy as np

from lightning_edge.samples.world.domains import Domain
from lightning_edge.samples.world.flow import Geometry
from lightning_edge.samples.world.ground_light import lamp_pools, shadow_mask
from lightning_edge.samples.world.renderer import CLOUD_HEIGHT_M, Buffers, Renderer
from lightning_edge.samples.world.sensor import Sensor
from lightning_edge.samples.world.textures import LEVEL_PX, LEVEL_X, LEVELS, Texture, atlas, atlas_y

Array = np.ndarray
LAMP_COLOR = np.array([1.0, 0.84, 0.58], np.float32)
CLOUD_MEAN = np.array([0.75, 0.82, 0.94], np.float32)
HOOD_TINT = (0.16, 0.17, 0.19)
LAMP_REACH_M = 10.0
POOL_LIGHT = 0.22
"""Light of a street lamp on the ground below it, in units of a sunlit white wall."""


class Appearance:
    """Draws frames of one scene in one domain; the same seed gives the same pictures.

    Args:
        renderer: Renderer of the scene with its camera.
        domain: Light and weather conditions.
        seed: Seed of the direction of the sun, the exposure, the noise and the rain.
    """

    def __init__(self, renderer: Renderer, domain: Domain, seed: int) -> None:
        self.renderer, self.domain = renderer, domain
        rng = np.random.default_rng([seed, 1])
        elevation, azimuth = np.deg2rad(rng.uniform(*domain.sun_elevation_deg)), rng.uniform(0, 2 * np.pi)
        flat = np.cos(elevation)
        self.sun = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
        self._sensor = Sensor(domain, renderer.camera.height_px, renderer.camera.width_px, rng)
        self._beam = _beam(domain.headlights, renderer.camera.height_px, renderer.camera.width_px)
        scene = renderer.scene
        self._texture = np.concatenate([scene.texture, [Texture.CLOUDS, Texture.PLAIN]])
        self._tint = np.concatenate([scene.tint, [(1, 1, 1), HOOD_TINT]]).astype(np.float32)
        self._glow = np.concatenate([scene.glow, [0, 0]]).astype(np.float32)
        self._is_ground = np.concatenate([scene.layer[scene.surface_body] == 0, [False, False]])

    def draw(self, now: Buffers, geometry: Geometry) -> Array:
        """The picture: uint8 ``[height, width, 3]``, RGB."""
        *colors, glow = cv2.split(self._sample(geometry))
        picture: Array = np.empty((3, *glow.shape), np.float32)
        for plane, color in zip(picture, colors, strict=True):
            np.multiply(color, np.float32(1 / 255), out=plane)
        sky = np.flatnonzero(now.surface == self.renderer.sky)
        clouds = np.take(picture.reshape(3, -1), sky, axis=1)
        picture *= self._light(now, geometry)
        self._light_ground(picture, now, geometry)
        if self.domain.lamps:
            self._add_lamps(picture, glow, geometry)
        self._add_air(picture, geometry)
        self._draw_sky(picture, sky, clouds, geometry)
        if self.domain.wet:
            self._wet_ground(picture, geometry)
        return self._sensor.record(picture)

    def _sample(self, geometry: Geometry) -> Array:
        """Texels of all pixels, RGB and glow, from the tile size that fits the distance."""
        per_pixel = np.log2(LEVEL_PX[0]) + 0.5 * np.log2(geometry.density)
        level = np.take(per_pixel.astype(np.float32), geometry.index)
        level -= 1.5 * np.log2(np.abs(geometry.inverse_depth))
        level = np.clip(level + 0.5, 0, LEVELS - 1).astype(np.intp)
        size = np.take(LEVEL_PX, level)
        first_row = atlas_y(self._texture[geometry.visible]).astype(np.float32) - 0.5
        column = np.take(LEVEL_X - 0.5, level) + (geometry.u - np.floor(geometry.u)) * size
        row = np.take(first_row, geometry.index) + (geometry.v - np.floor(geometry.v)) * size
        return cv2.remap(atlas(), column, row, cv2.INTER_LINEAR)

    def _light(self, now: Buffers, geometry: Geometry) -> Array:
        """Light on every pixel's surface times its tint."""
        domain, visible = self.domain, geometry.visible
        normal = now.projection.normal[visible]
        light = np.array(domain.ambient) * (0.86 + 0.14 * normal[:, 2:])
        light = light + np.maximum(normal @ self.sun, 0.0)[:, None] * np.array(domain.sun)
        if domain.lamps:
            light = light + 0.45 * domain.lamps * self._lamp_share(now, visible)[:, None] * LAMP_COLOR
        on_surface = light * self._tint[visible]
        planes = _spread(on_surface, geometry)
        if domain.headlights:
            planes += _spread(self._tint[visible], geometry) * self._headlights(geometry)
        return planes

    def _lamp_share(self, now: Buffers, visible: Array) -> Array:
        """How near every upright surface is to a street lamp, 0 to 1."""
        lamps = self.renderer.scene.lamps
        if not len(lamps):
            return np.zeros(len(visible))
        away = now.projection.place[visible, None, :2] - lamps[None, :, :2]
        nearest = np.linalg.norm(away, axis=2).min(axis=1)
        return np.where(self._is_ground[visible], 0.0, np.exp(-((nearest / LAMP_REACH_M) ** 2)))

    def _headlights(self, geometry: Geometry) -> Array:
        """Light of the own low beam, which fades with the distance."""
        return self._beam * np.exp(-0.05 / np.maximum(geometry.inverse_depth, 1e-3))

    def _light_ground(self, picture: Array, now: Buffers, geometry: Geometry) -> None:
        """Shadows and pools of lamp light."""
        domain, top = self.domain, self.renderer.horizon_row()
        if not (domain.shadow or domain.contact or domain.lamps):
            return
        is_ground = np.take(self._is_ground[geometry.visible], geometry.index[top:])
        light = shadow_mask(self.renderer, now, self.sun, domain.shadow, domain.contact)[top:]
        light[~is_ground] = 1
        picture[:, top:] *= light
        if domain.lamps:
            pools = lamp_pools(self.renderer, now)[top:] * (POOL_LIGHT * domain.lamps / domain.ambient[0])
            picture[:, top:] *= 1 + np.where(is_ground, pools, 0).astype(np.float32) * LAMP_COLOR[:, None, None]

    def _add_lamps(self, picture: Array, glow: Array, geometry: Geometry) -> None:
        """Lit windows, signals and lamps of vehicles."""
        visible = geometry.visible
        picture += _spread(self.domain.lamps * self._glow[visible, None] * self._tint[visible], geometry)
        picture += glow * LAMP_COLOR[:, None, None] * np.float32(0.75 * self.domain.lamps / 255)

    def _add_air(self, picture: Array, geometry: Geometry) -> None:
        """Koschmieder: what is seen fades by exp(-coefficient * distance) into the color of the air."""
        if not self.domain.extinction_per_m:
            return
        distance = 1 / np.maximum(np.abs(geometry.inverse_depth), 1e-4)
        left = cv2.exp(np.float32(-self.domain.extinction_per_m) * distance)
        air = 1 - left
        for plane, color in zip(picture, self.domain.horizon, strict=True):
            plane *= left
            plane += np.float32(color) * air

    def _draw_sky(self, picture: Array, pixels: Array, clouds: Array, geometry: Geometry) -> None:
        """Clouds above, the color of the air towards the horizon."""
        domain = self.domain
        mean = CLOUD_MEAN[:, None]
        sky = (mean + domain.sky_contrast * (clouds - mean)) * np.array(domain.sky_tint, np.float32)[:, None]
        haze = domain.haze * np.exp(-6 * CLOUD_HEIGHT_M * np.abs(geometry.inverse_depth.ravel()[pixels]))
        sky += haze * (np.array(domain.horizon, np.float32)[:, None] - sky)
        picture.reshape(3, -1)[:, pixels] = sky

    def _wet_ground(self, picture: Array, geometry: Geometry) -> None:
        """Darker ground that mirrors what stands above the horizon, the more the flatter one looks at it."""
        top, wet = self.renderer.horizon_row(), np.float32(self.domain.wet)
        is_ground = np.take(self._is_ground[geometry.visible], geometry.index[top:])
        distance = 1 / np.maximum(geometry.inverse_depth[top:], 1e-3)
        share = np.where(is_ground, wet * (0.12 + 0.45 * distance / (distance + 18)), 0).astype(np.float32)
        kept = (1 - share) * np.where(is_ground, 1 - 0.35 * wet, 1).astype(np.float32)
        mirror = np.maximum(2 * top - 1 - np.arange(top, picture.shape[1]), 0)
        for plane in picture:
            mirrored = cv2.blur(plane[mirror], (3, 7))
            plane[top:] *= kept
            plane[top:] += mirrored * share


def _beam(strength: float, height: int, width: int) -> Array:
    """A cone of light to the front that ends at the horizon."""
    across = np.linspace(-1, 1, width, dtype=np.float32)[None]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    return np.float32(strength) * (np.exp(-1.5 * across**2) * np.exp(-18.0 * np.maximum(0.05 - down, 0) ** 2))


def _spread(values: Array, geometry: Geometry) -> Array:
    """Values of the visible surfaces ``[surfaces, 3]`` on their pixels, in planes."""
    planes: Array = np.empty((3, *geometry.index.shape), np.float32)
    for plane, column in zip(planes, values.T.astype(np.float32), strict=True):
        np.take(column, geometry.index, out=plane, mode="clip")  # with "raise" it would be copied once more
    return planes
