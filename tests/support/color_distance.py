"""How different colors look: CIELAB by its definition, beside the library's, which is OpenCV's."""

from itertools import combinations

import numpy as np

_XYZ_OF_SRGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _XYZ_OF_SRGB.sum(1)
"""D65."""


def cielab(colors):
    """Colors of sRGB, 0 to 255, in CIELAB (CIE 15:2004, IEC 61966-2-1)."""
    encoded = np.array(colors, float) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _XYZ_OF_SRGB.T / _WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def nearest_pair(colors, names):
    """The least distance between two colors (Delta E of 1976; 2.3 is just noticeable), and whose they are."""
    places = cielab(colors)
    return min(
        (float(np.linalg.norm(places[one] - places[other])), names[one], names[other])
        for one, other in combinations(range(len(colors)), 2)
    )
