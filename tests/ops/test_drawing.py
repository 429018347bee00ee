import numpy as np
import pytest

from lightning_edge.ops.drawing import colour_mask, default_palette, overlay, tile

PALETTE = ((10, 20, 30), (40, 50, 60))


def test_colour_mask_paints_classes_and_leaves_ignored_pixels_black() -> None:
    mask = np.array([[0, 1], [255, 0]], np.uint8)
    expected = [[PALETTE[0], PALETTE[1]], [(0, 0, 0), PALETTE[0]]]
    assert colour_mask(mask, PALETTE).tolist() == np.array(expected).tolist()


def test_colour_mask_of_ignored_pixels_alone_is_black() -> None:
    assert not colour_mask(np.full((3, 2), 255), PALETTE).any()


@pytest.mark.parametrize("label", [2, -1])
def test_colour_mask_refuses_a_class_without_colour(label: int) -> None:
    with pytest.raises(ValueError, match=f"expected classes within 0 and 1, got {label} to {label}"):
        colour_mask(np.full((2, 2), label), PALETTE)


@pytest.mark.parametrize("num_classes", [2, 19, 32])
def test_default_palette_has_distinct_colours_that_are_not_black(num_classes: int) -> None:
    palette = np.array(default_palette(num_classes), float)
    distance = np.linalg.norm(palette[:, None] - palette, axis=-1) + 1000 * np.eye(num_classes)
    assert distance.min() > 20
    assert palette.max(axis=1).min() > 200


def test_overlay_mixes_by_opacity() -> None:
    image, colours = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert np.array_equal(overlay(image, colours, 0.0), image)
    assert np.array_equal(overlay(image, colours, 1.0), colours)
    assert np.array_equal(overlay(image, colours, 0.25), np.full((2, 2, 3), 125))


def test_tile_sets_each_image_into_its_cell() -> None:
    black, grey = np.zeros((2, 3, 3), np.uint8), np.full((4, 1, 3), 9, np.uint8)
    table = tile([[black, grey], [grey]], gap_px=1)
    assert table.shape == (2 * 5 - 1, 2 * 4 - 1, 3)
    expected = np.full((9, 7), 255)
    expected[0:2, 0:3] = 0
    expected[0:4, 4:5] = 9
    expected[5:9, 0:1] = 9
    assert np.array_equal(table[..., 0], expected)


@pytest.mark.parametrize("width", [40, 60])
def test_titles_stand_above_their_columns(width: int) -> None:
    grey = np.full((30, width, 3), 99, np.uint8)
    table, titled = tile([[grey, grey]]), tile([[grey, grey]], titles=("prediction", ""))
    heading, below = titled[: -len(table)], titled[-len(table) :]
    assert np.array_equal(below, table)
    assert heading[:, :width].min() < 150
    assert heading[:, width:].min() == 255
    with pytest.raises(ValueError, match=r"expected 2 titles, got \['one'\]"):
        tile([[grey, grey]], titles=("one",))


def test_tile_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        tile([[]])
