"""Light and weather. A domain changes how the world looks, never what is where."""

from dataclasses import dataclass

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Domain:
    """How a scene is lit, seen and recorded; colors are RGB with white at 1.

    Attributes:
        name: Name of the domain.
        ambient: Light of the whole sky.
        sun: Direct light, which is added where a surface faces the sun.
        sun_elevation_deg: Range from which a scene draws the elevation of the sun.
        sky_tint: Color factor of the clouds.
        sky_contrast: Contrast of blue and white; 0 is an overcast sky.
        horizon: Color of the sky above the horizon, and of the haze over distant surfaces.
        haze: Strength of the horizon's color in the sky near the horizon.
        extinction_per_m: Beer-Lambert coefficient of the air. Fog of 0.03 is a meteorological optical range of 100 m
            (range = 2.996 / coefficient; Sakaridis et al., IJCV 2018, use 0.005 to 0.06).
        shadow: Share of the ground's light that is missing in the sun's shadows.
        contact: Share of the light that is missing under objects on the ground.
        lamps: Strength of lit windows, street lamps and lights of vehicles.
        headlights: Strength of the ego vehicle's headlights.
        bloom: Strength of the scattering of very bright light in the lens.
        wet: Strength of the darkening and the reflections of wet ground. Wet asphalt reflects about half as much
            diffuse light (Lekner and Dorf, Applied Optics 1988).
        rain: Strength of the streaks.
        shot_noise: Variance per unit of signal.
        read_noise: Standard deviation in the dark (both: Foi et al., IEEE TIP 2008).
        exposure: Range of the gain of a recording.
    """

    name: str
    ambient: Color
    sun: Color
    sun_elevation_deg: tuple[float, float]
    sky_tint: Color
    sky_contrast: float
    horizon: Color
    haze: float
    extinction_per_m: float
    shadow: float
    contact: float
    lamps: float
    headlights: float
    bloom: float
    wet: float
    rain: float
    shot_noise: float
    read_noise: float
    exposure: tuple[float, float]


DAY = Domain(
    "day", ambient=(0.72, 0.75, 0.80), sun=(0.55, 0.52, 0.45), sun_elevation_deg=(25, 60), sky_tint=(1.0, 1.0, 1.0),
    sky_contrast=1.0, horizon=(0.86, 0.89, 0.92), haze=1.0, extinction_per_m=0.0012,
    shadow=0.45, contact=0.55, lamps=0.0,
    headlights=0.0, bloom=0.0, wet=0.0, rain=0.0, shot_noise=0.0004, read_noise=0.008, exposure=(0.8, 1.2),
)  # fmt: skip
DUSK = Domain(
    "dusk", ambient=(0.36, 0.34, 0.42), sun=(0.34, 0.20, 0.10), sun_elevation_deg=(8, 14), sky_tint=(0.80, 0.62, 0.66),
    sky_contrast=0.8, horizon=(0.95, 0.62, 0.42), haze=1.0, extinction_per_m=0.0025,
    shadow=0.2, contact=0.55, lamps=0.7,
    headlights=0.15, bloom=0.4, wet=0.0, rain=0.0, shot_noise=0.0012, read_noise=0.014, exposure=(0.9, 1.25),
)  # fmt: skip
NIGHT = Domain(
    "night", ambient=(0.11, 0.115, 0.145), sun=(0.0, 0.0, 0.0), sun_elevation_deg=(40, 60),
    sky_tint=(0.055, 0.06, 0.09), sky_contrast=0.5, horizon=(0.13, 0.11, 0.10), haze=1.0, extinction_per_m=0.003,
    shadow=0.0, contact=0.55, lamps=1.0,
    headlights=0.75, bloom=0.6, wet=0.0, rain=0.0, shot_noise=0.0030, read_noise=0.022, exposure=(0.85, 1.3),
)  # fmt: skip
RAIN = Domain(
    "rain", ambient=(0.62, 0.66, 0.70), sun=(0.0, 0.0, 0.0), sun_elevation_deg=(40, 60), sky_tint=(0.85, 0.82, 0.75),
    sky_contrast=0.15, horizon=(0.66, 0.69, 0.72), haze=1.0, extinction_per_m=0.007,
    shadow=0.0, contact=0.55, lamps=0.35,
    headlights=0.0, bloom=0.0, wet=0.8, rain=1.0, shot_noise=0.0008, read_noise=0.012, exposure=(0.8, 1.2),
)  # fmt: skip
FOG = Domain(
    "fog", ambient=(0.74, 0.75, 0.77), sun=(0.0, 0.0, 0.0), sun_elevation_deg=(40, 60), sky_tint=(1.067, 0.988, 0.872),
    sky_contrast=0.0, horizon=(0.80, 0.81, 0.82), haze=1.0, extinction_per_m=0.03,
    shadow=0.0, contact=0.55, lamps=0.25,
    headlights=0.0, bloom=0.0, wet=0.15, rain=0.0, shot_noise=0.0005, read_noise=0.009, exposure=(0.85, 1.15),
)  # fmt: skip
PLAIN = Domain(
    "plain", ambient=(1.0, 1.0, 1.0), sun=(0.0, 0.0, 0.0), sun_elevation_deg=(40, 60), sky_tint=(1.0, 1.0, 1.0),
    sky_contrast=1.0, horizon=(0.86, 0.89, 0.92), haze=0.0, extinction_per_m=0.0,
    shadow=0.0, contact=0.0, lamps=0.0,
    headlights=0.0, bloom=0.0, wet=0.0, rain=0.0, shot_noise=0.0, read_noise=0.0, exposure=(1.0, 1.0),
)  # fmt: skip
"""Only the colors of the surfaces, for tests of motion."""

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (DAY, DUSK, NIGHT, RAIN, FOG, PLAIN)}


def domain_named(name: str) -> Domain:
    """The domain of a name, or an error that lists the names."""
    if name not in DOMAINS:
        raise ValueError(f"expected domain to be one of {sorted(DOMAINS)}, got {name!r}")
    return DOMAINS[name]
