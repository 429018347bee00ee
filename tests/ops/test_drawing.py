import numpy as np
import pytest

from lightning_edge.ops.drawing import colour_mask, default_palette, draw_boxes, overlay, tile

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


def boxes_and_labels(*boxes: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(boxes, np.float32).reshape(-1, 4), np.arange(len(boxes))


def test_a_box_is_outlined_on_the_pixels_within_its_edges() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    drawn = draw_boxes(image, *boxes_and_labels((10, 30, 70, 50)), [(200, 0, 9)], ["a"])
    assert not image.any()
    below_name = np.zeros((60, 80), bool)
    below_name[30:50, 10:70] = True
    below_name[31:49, 11:69] = False
    assert np.array_equal((drawn[30:] == (200, 0, 9)).all(-1), below_name[30:])
    assert not drawn[30:][~below_name[30:]].any()
    name = drawn[:30].any(-1)
    assert name.any()
    assert not name[:, :10].any()


@pytest.mark.parametrize("box", [(0, 0, 158, 58), (0, 40, 20, 60), (150, 40, 160, 60)])
def test_names_stay_inside_the_image(box: tuple[float, ...]) -> None:
    image, yellow, names = np.zeros((60, 160, 3), np.uint8), [(250, 250, 0)], ["a long name"]
    with_room = draw_boxes(image, *boxes_and_labels((40, 30, 60, 50)), yellow, names)
    assert ink(draw_boxes(image, *boxes_and_labels(box), yellow, names)) == ink(with_room) > 100


def ink(drawn: np.ndarray) -> int:
    """Number of pixels at the edges of letters on yellow."""
    is_edge = drawn.any(-1) & (drawn[..., 0] < 250)
    return int(is_edge.sum())


def test_edges_outside_are_drawn_at_the_border() -> None:
    drawn = draw_boxes(np.zeros((60, 80, 3), np.uint8), *boxes_and_labels((-9, 30, 99, 90)), PALETTE[1:], ["a"])
    border = (drawn[30:] == PALETTE[1]).all(-1)
    assert border[:, 0].all()
    assert border[:, -1].all()
    assert border[-1].all()


def test_the_surest_box_is_drawn_over_the_others() -> None:
    boxes, labels = boxes_and_labels((10, 30, 70, 50), (10, 30, 70, 50))
    for scores, colour in (((0.9, 0.3), PALETTE[0]), ((0.3, 0.9), PALETTE[1])):
        drawn = draw_boxes(np.zeros((60, 80, 3), np.uint8), boxes, labels, PALETTE, ["a", "b"], np.array(scores))
        assert tuple(drawn[49, 40]) == colour


def test_a_score_follows_the_name() -> None:
    arguments = np.zeros((60, 80, 3), np.uint8), *boxes_and_labels((10, 30, 70, 50)), PALETTE
    assert np.array_equal(draw_boxes(*arguments, ["a"], np.array([0.254])), draw_boxes(*arguments, ["a 0.25"]))
    assert not np.array_equal(draw_boxes(*arguments, ["a"]), draw_boxes(*arguments, ["a 0.25"]))


def test_names_hide_no_box() -> None:
    boxes, labels = boxes_and_labels((12, 20, 22, 28), (10, 30, 70, 50))  # the second name lies on the first box
    drawn = draw_boxes(np.zeros((60, 80, 3), np.uint8), boxes, labels, PALETTE, ["", "b"])
    assert (drawn[20, 12:22] == PALETTE[0]).all()
    assert (drawn[27, 12:22] == PALETTE[0]).all()
    assert (drawn[22:26, 10] == PALETTE[1]).all()


def test_an_empty_name_is_not_written() -> None:
    drawn = draw_boxes(np.zeros((60, 80, 3), np.uint8), *boxes_and_labels((10, 30, 70, 50)), PALETTE, ["", ""])
    assert not drawn[:30].any()


def test_no_boxes_leave_the_image_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert np.array_equal(draw_boxes(image, *boxes_and_labels(), PALETTE, ["a", "b"]), image)


@pytest.mark.parametrize(("palette", "names"), [(PALETTE, ["a"]), (PALETTE[:1], ["a", "b"])])
def test_draw_boxes_refuses_a_class_without_colour_or_name(palette: tuple, names: list[str]) -> None:
    boxes, labels = boxes_and_labels((0, 0, 1, 1), (0, 0, 1, 1))
    with pytest.raises(ValueError, match="expected labels within 0 and 0, got 0 to 1"):
        draw_boxes(np.zeros((6, 8, 3), np.uint8), boxes, labels, palette, names)
