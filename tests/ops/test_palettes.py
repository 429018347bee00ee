import pytest
from color_distance import cielab, nearest_pair

from lightning_edge.ops.palettes import default_palette


def test_distances_are_those_of_published_colors():
    # red, green and blue of sRGB in CIELAB, as tables of color give them
    expected = [(53.24, 80.09, 67.20), (87.74, -86.18, 83.18), (32.30, 79.19, -107.86)]
    for color, place in zip([(255, 0, 0), (0, 255, 0), (0, 0, 255)], expected, strict=True):
        assert cielab([color])[0] == pytest.approx(place, abs=0.1)


@pytest.mark.parametrize(("num_classes", "least"), [(2, 200), (11, 45), (19, 34), (32, 27), (150, 13)])
def test_default_colors_are_easy_to_tell_apart(num_classes, least):
    palette = default_palette(num_classes)
    assert len(palette) == num_classes
    distance, *pair = nearest_pair(palette, range(num_classes))
    assert distance > least, pair
    assert min(max(color) for color in palette) > 200  # to be seen over the shade of an image


def test_no_default_color_is_near_that_of_ignored_pixels_or_of_paper():
    for paper in ((0, 0, 0), (255, 255, 255)):
        for color in default_palette(32):
            assert nearest_pair([color, paper], "ab")[0] > 25


def test_a_class_has_its_color_however_many_there_are():
    assert default_palette(19)[:11] == default_palette(11)


def test_no_classes_have_no_colors():
    assert default_palette(0) == ()
