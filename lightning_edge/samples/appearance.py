"""From geometry to a picture: materials, light, shadows, air, lamps, rain, lens and sensor."""

import cv2
import numpy as np

from lightning_edge.samples.domains import Domain
from lightning_edge.samples.flow import Geometry
from lightning_edge.samples.ground_light import lamp_pools, shadow_mask
from lightning_edge.samples.renderer import CLOUD_HEIGHT_M, Buffers, Renderer
from lightning_edge.samples.textures import LEVEL_PX, LEVEL_X, LEVELS, Texture, atlas, atlas_y

Array = np.ndarray
LAMP_COLOUR = np.array([1.0, 0.84, 0.58], np.float32)
CLOUD_MEAN = np.array([0.75, 0.82, 0.94], np.float32)
HOOD_TINT = (0.16, 0.17, 0.19)


class Appearance:
    """Draws frames of one scene in one domain; the same seed gives the same pictures.

    Args:
        renderer: The scene and its camera.
        domain: Light and weather.
        seed: Of exposure, direction of the sun, noise and rain.
    """

    def __init__(self, renderer: Renderer, domain: Domain, seed: int) -> None:
        self.renderer, self.domain = renderer, domain
        self._rng = np.random.default_rng([seed, 1])
        elevation = np.deg2rad(self._rng.uniform(*domain.sun_elevation_deg))
        azimuth = self._rng.uniform(0, 2 * np.pi)
        self.sun = np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        spread = 0.03 if domain.read_noise else 0.0
        white = 1 + spread * self._rng.uniform(-1, 1, 3)
        self._exposure = (self._rng.uniform(*domain.exposure) * white).astype(np.float32)
        scene = renderer.scene
        self._texture = np.concatenate([scene.texture, [Texture.CLOUDS, Texture.PLAIN]])
        self._tint = np.concatenate([scene.tint, [(1, 1, 1), HOOD_TINT]]).astype(np.float32)
        self._glow = np.concatenate([scene.glow, [0, 0]]).astype(np.float32)
        self._is_ground = np.concatenate([scene.layer[scene.surface_body] == 0, [False, False]])
        height, width = renderer.camera.height_px, renderer.camera.width_px
        self._grain = self._rng.standard_normal((height + 61, width + 67, 3)).astype(np.float32)
        self._streaks = _streaks(self._rng, height, width) if domain.rain else None

    def draw(self, now: Buffers, geometry: Geometry) -> Array:
        """The picture: uint8 ``[height, width, 3]``, RGB."""
        texels = self._sample(geometry)
        light = self._light(now, geometry)
        picture = cv2.multiply(texels[..., :3], light, scale=1 / 255, dtype=cv2.CV_32F)
        self._shade_ground(picture, now, geometry)
        self._draw_sky(picture, texels, now, geometry)
        self._add_headlights(picture, texels, geometry)
        if self.domain.lamps:
            self._add_lamps(picture, texels, geometry)
        self._add_air(picture, now, geometry)
        if self.domain.wet:
            self._wet_ground(picture, now, geometry)
        return self._record(picture)

    def _sample(self, geometry: Geometry) -> Array:
        """Texels of all pixels, RGB and glow, from the tile size that fits the distance."""
        textures = self._texture[geometry.visible]
        stretch = np.take(self._log_texels(geometry), geometry.index)
        level = stretch - 1.5 * np.log2(np.abs(geometry.inverse_depth))
        level = np.clip(level + 0.2, 0, LEVELS - 1).astype(np.intp)
        size = np.take(LEVEL_PX, level)
        column = np.take(LEVEL_X - 0.5, level) + (geometry.u - np.floor(geometry.u)) * size
        row = (
            np.take(atlas_y(textures).astype(np.float32) - 0.5, geometry.index)
            + (geometry.v - np.floor(geometry.v)) * size
        )
        return cv2.remap(atlas(), column, row, cv2.INTER_LINEAR)

    def _log_texels(self, geometry: Geometry) -> Array:
        """Per visible surface, log2 of texels per pixel at unit depth (square root of the area)."""
        texels = np.full(len(geometry.visible), LEVEL_PX[0])
        return (np.log2(texels) + 0.5 * np.log2(geometry.density)).astype(np.float32)

    def _light(self, now: Buffers, geometry: Geometry) -> Array:
        """Light on every pixel's surface times its tint."""
        domain = self.domain
        normal = now.projection.normal[geometry.visible]
        direct = np.maximum(normal @ self.sun, 0.0)[:, None] * np.array(domain.sun)
        ambient = np.array(domain.ambient) * (0.86 + 0.14 * normal[:, 2:])
        if domain.name == "plain":
            direct, ambient = 0.0, np.ones((len(normal), 3))
        light = (ambient + direct) * self._tint[geometry.visible]
        return np.take(light.astype(np.float32), geometry.index, axis=0)

    def _shade_ground(self, picture: Array, now: Buffers, geometry: Geometry) -> None:
        if self.domain.name == "plain":
            return
        is_ground = np.take(self._is_ground[geometry.visible], geometry.index)
        light = shadow_mask(self.renderer, now, self.sun, self.domain.shadow)
        if self.domain.lamps:
            light = light + self.domain.lamps * 0.9 * lamp_pools(self.renderer, now) / max(self.domain.ambient[0], 0.1)
        picture *= np.where(is_ground, light, np.float32(1.0))[..., None]

    def _draw_sky(self, picture: Array, texels: Array, now: Buffers, geometry: Geometry) -> None:
        rows = slice(0, self._last_sky_row(now))
        is_sky = now.surface[rows] == self.renderer.sky
        clouds = texels[rows, :, :3] * np.float32(1 / 255)
        tint = np.array(self.domain.sky_tint, np.float32)
        clouds = (CLOUD_MEAN + self.domain.sky_contrast * (clouds - CLOUD_MEAN)) * tint
        if self.domain.name != "plain":
            haze = np.exp(-6 * CLOUD_HEIGHT_M * np.abs(geometry.inverse_depth[rows]))[..., None]
            clouds += haze * (np.array(self.domain.horizon, np.float32) - clouds)
        picture[rows][is_sky] = clouds[is_sky]

    def _last_sky_row(self, now: Buffers) -> int:
        found = np.flatnonzero((now.surface == self.renderer.sky).any(axis=1))
        return int(found[-1]) + 1 if len(found) else 0

    def _add_headlights(self, picture: Array, texels: Array, geometry: Geometry) -> None:
        if not self.domain.headlights:
            return
        height, width = geometry.index.shape
        across = np.linspace(-1, 1, width, dtype=np.float32)[None]
        down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        cone = np.exp(-1.5 * across**2 - 3.0 * np.maximum(0.05 - down, 0) ** 2 * 6)
        reach = np.exp(-0.05 / np.maximum(geometry.inverse_depth, 1e-3))
        own = np.take(self._tint[geometry.visible], geometry.index, axis=0) * texels[..., :3]
        picture += own * (self.domain.headlights / 255 * cone * reach)[..., None]

    def _add_lamps(self, picture: Array, texels: Array, geometry: Geometry) -> None:
        """Lit windows, lamps of vehicles and signals, and the light of street lamps on what stands near them."""
        glow = self._glow[geometry.visible]
        own = np.take((glow[:, None] * self._tint[geometry.visible]).astype(np.float32), geometry.index, axis=0)
        picture += self.domain.lamps * own
        window = texels[..., 3] * np.float32(0.75 * self.domain.lamps / 255)
        picture += window[..., None] * LAMP_COLOUR

    def _add_air(self, picture: Array, now: Buffers, geometry: Geometry) -> None:
        """Koschmieder: what is seen fades by exp(-coefficient * distance) into the colour of the air."""
        if not self.domain.extinction_per_m:
            return
        distance = 1 / np.maximum(np.abs(geometry.inverse_depth), 1e-4)
        left = cv2.exp(-self.domain.extinction_per_m * distance)
        left[now.surface == self.renderer.sky] = 1.0
        left[now.surface == self.renderer.hood] = 1.0
        air = np.array(self.domain.horizon, np.float32)
        picture -= air
        picture *= left[..., None]
        picture += air

    def _wet_ground(self, picture: Array, now: Buffers, geometry: Geometry) -> None:
        """Darker ground that mirrors what stands above the horizon, the more the flatter one looks at it."""
        horizon = self.renderer.horizon_row()
        below = picture[horizon:]
        rows = np.maximum(2 * horizon - 1 - np.arange(horizon, picture.shape[0]), 0)
        mirrored = cv2.blur(picture[rows], (3, 7))
        is_ground = np.take(self._is_ground[geometry.visible], geometry.index[horizon:])
        distance = 1 / np.maximum(geometry.inverse_depth[horizon:], 1e-3)
        share = self.domain.wet * (0.12 + 0.45 * distance / (distance + 18))
        mixed = below * (1 - 0.35 * self.domain.wet) * (1 - share[..., None]) + mirrored * share[..., None]
        below[is_ground] = mixed[is_ground]

    def _record(self, picture: Array) -> Array:
        """Rain in the air, lens, exposure, noise of photons and electronics, eight bits."""
        domain = self.domain
        height, width = picture.shape[:2]
        if self._streaks is not None:
            y, x = self._rng.integers(height), self._rng.integers(width)
            streaks = self._streaks[y : y + height, x : x + width, None]
            picture += domain.rain * streaks * (0.85 - picture)
        if domain.lamps >= 0.7:
            bright = cv2.resize(np.maximum(picture - 0.75, 0), None, fx=0.5, fy=0.5)
            picture += 0.6 * cv2.resize(cv2.GaussianBlur(bright, (9, 9), 2.2), (width, height))
        picture *= self._exposure
        if domain.read_noise:
            picture = cv2.GaussianBlur(picture, (3, 3), 0.55)
            y, x = self._rng.integers(61), self._rng.integers(67)
            deviation = cv2.sqrt(np.maximum(domain.shot_noise * picture, 0) + domain.read_noise**2)
            picture += deviation * self._grain[y : y + height, x : x + width]
        return cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)


def _streaks(rng: np.random.Generator, height: int, width: int) -> Array:
    """Twice the size of a frame, from which every frame takes another part."""
    canvas = np.zeros((2 * height, 2 * width), np.float32)
    slant = rng.uniform(-0.15, 0.15)
    for _ in range(height * width // 45):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        length = height * rng.uniform(0.02, 0.09)
        end = (int(x + slant * length), int(y + length))
        cv2.line(canvas, (int(x), int(y)), end, float(rng.uniform(0.08, 0.30)), 1, cv2.LINE_AA)
    return canvas
