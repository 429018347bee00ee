"""Images of any size in one frame: what stays where, and that nothing is stretched or lost."""

import numpy as np
import pytest

from lightning_edge.data.images.letterbox import PADDING, letterbox


def rectangle(height, width, box):
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


def bright_box(image):
    rows, columns = np.nonzero(image[..., 0] > 127)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_an_image_of_the_size_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    made = letterbox(image, (48, 64))
    assert made.scale == 1
    assert np.array_equal(made.image, image)


def test_bdd100k_at_a_fifth_has_no_padding():
    made = letterbox(np.zeros((720, 1280, 3), np.uint8), (144, 256))
    assert made.scale == 0.2
    assert made.image.shape == (144, 256, 3)
    assert made.image.max() == 0


@pytest.mark.parametrize(
    ("shape", "picture"),
    [((10, 40), (16, 64)), ((40, 10), (48, 12)), ((96, 96), (48, 48)), ((1, 1000), (1, 64)), ((2000, 1), (48, 1))],
)
def test_padding_is_gray_and_at_the_right_or_at_the_bottom(shape, picture):
    made = letterbox(np.zeros((*shape, 3), np.uint8), (48, 64))
    is_picture = np.zeros((48, 64), bool)
    is_picture[: picture[0], : picture[1]] = True
    assert np.array_equal((made.image == 0).all(-1), is_picture)
    assert np.array_equal((made.image == PADDING).all(-1), ~is_picture)


@pytest.mark.parametrize("shape", [(72, 128), (720, 1280), (333, 500), (500, 333), (37, 61), (1080, 1921)])
@pytest.mark.parametrize("size", [(144, 256), (101, 203), (64, 64)])
def test_boxes_go_there_and_back(shape, size):
    height, width = shape
    box = np.array([width // 5, height // 3, width * 4 // 5, height * 9 // 10])
    image, scale = letterbox(rectangle(height, width, box), size)
    assert image.shape == (*size, 3)
    assert scale == min(size[0] / height, size[1] / width)
    # half a pixel for the rounding of the size, half a one for that of the edge
    assert np.abs(bright_box(image) - scale * box).max() <= 1
    assert np.abs(bright_box(image) / scale - box).max() <= 1 / scale


def test_a_single_bright_pixel_is_not_lost():
    image = rectangle(720, 1280, (641, 301, 642, 302))
    assert letterbox(image, (144, 256)).image.max() == round(255 / 25)


def test_a_picture_is_not_stretched():
    made = letterbox(rectangle(600, 1000, (200, 100, 600, 500)), (144, 256))
    x1, y1, x2, y2 = bright_box(made.image)
    assert x2 - x1 == y2 - y1 == 96
