"""Where the texts of a figure lie once it is drawn."""

from itertools import combinations

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def drawn_texts(figure, monkeypatch, dpi=100):
    """Every text that is drawn, in the order of drawing: it is found where matplotlib draws it."""
    drawn, draw = [], Text.draw

    def noting(text, renderer, *arguments, **options):
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        draw(text, renderer, *arguments, **options)

    figure.set_dpi(dpi)
    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", noting)
        FigureCanvasAgg(figure).draw()
    return list(dict.fromkeys(drawn))


def overlapping(texts):
    """Pairs of texts that lie on each other, by their rectangles as they are turned."""
    rectangles = [(text.get_text(), _rectangle(text)) for text in texts]
    return [
        (one, other)
        for (one, first), (other, second) in combinations(rectangles, 2)
        if cv2.rotatedRectangleIntersection(first, second)[0] != cv2.INTERSECT_NONE
    ]


def beyond_the_edge(figure, texts):
    """Texts that are cut off at the edge of the figure."""
    width, height = figure.bbox.size
    boxes = {text.get_text(): text.get_window_extent() for text in texts}
    return [name for name, box in boxes.items() if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]


def _rectangle(text):
    box = text.get_window_extent()
    middle, angle = (box.x0 + box.width / 2, box.y0 + box.height / 2), text.get_rotation()
    text.set_rotation(0)
    size = text.get_window_extent().size
    text.set_rotation(angle)
    return middle, tuple(np.maximum(size - 0.5, 0.5)), angle  # half a pixel: edges that only touch are apart
