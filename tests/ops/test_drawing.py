import numpy as np
import pytest

from lightning_edge.ops.drawing import color_mask, draw_boxes, overlay, tile, with_legend

PALETTE = ((10, 20, 30), (40, 50, 60))


def test_color_mask_paints_classes_and_leaves_ignored_pixels_black() -> None:
    mask = np.array([[0, 1], [255, 0]], np.uint8)
    expected = [[PALETTE[0], PALETTE[1]], [(0, 0, 0), PALETTE[0]]]
    assert color_mask(mask, PALETTE).tolist() == np.array(expected).tolist()


def test_color_mask_of_ignored_pixels_alone_is_black() -> None:
    assert not color_mask(np.full((3, 2), 255), PALETTE).any()


@pytest.mark.parametrize("label", [2, -1])
def test_color_mask_refuses_a_class_without_color(label: int) -> None:
    with pytest.raises(ValueError, match=f"expected classes within 0 and 1, got {label} to {label}"):
        color_mask(np.full((2, 2), label), PALETTE)


def test_overlay_mixes_by_opacity() -> None:
    image, colors = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert np.array_equal(overlay(image, colors, 0.0), image)
    assert np.array_equal(overlay(image, colors, 1.0), colors)
    assert np.array_equal(overlay(image, colors, 0.25), np.full((2, 2, 3), 125))


def test_tile_sets_each_image_into_its_cell() -> None:
    black, gray = np.zeros((2, 3, 3), np.uint8), np.full((4, 1, 3), 9, np.uint8)
    table = tile([[black, gray], [gray]], gap_px=1)
    assert table.shape == (2 * 5 - 1, 2 * 4 - 1, 3)
    expected = np.full((9, 7), 255)
    expected[0:2, 0:3] = 0
    expected[0:4, 4:5] = 9
    expected[5:9, 0:1] = 9
    assert np.array_equal(table[..., 0], expected)


@pytest.mark.parametrize("width", [40, 60])
def test_titles_stand_above_their_columns(width: int) -> None:
    gray = np.full((30, width, 3), 99, np.uint8)
    table, titled = tile([[gray, gray]]), tile([[gray, gray]], titles=("prediction", ""))
    heading, below = titled[: -len(table)], titled[-len(table) :]
    assert np.array_equal(below, table)
    assert heading[:, :width].min() < 150
    assert heading[:, width:].min() == 255
    with pytest.raises(ValueError, match=r"expected 2 titles, got \['one'\]"):
        tile([[gray, gray]], titles=("one",))


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
    for scores, color in (((0.9, 0.3), PALETTE[0]), ((0.3, 0.9), PALETTE[1])):
        drawn = draw_boxes(np.zeros((60, 80, 3), np.uint8), boxes, labels, PALETTE, ["a", "b"], np.array(scores))
        assert tuple(drawn[49, 40]) == color


def test_a_score_follows_the_name() -> None:
    arguments = np.zeros((60, 80, 3), np.uint8), *boxes_and_labels((10, 30, 70, 50)), PALETTE
    assert np.array_equal(draw_boxes(*arguments, ["a"], np.array([0.254])), draw_boxes(*arguments, ["a 0.25"]))
    assert not np.array_equal(draw_boxes(*arguments, ["a"]), draw_boxes(*arguments, ["a 0.25"]))


def test_names_hide_no_box() -> None:
    small = [(x, y, x + 10, y + 8) for y in range(0, 60, 10) for x in range(0, 80, 12)]  # no name finds a free place
    boxes = np.array([*small, (10, 30, 70, 50)], np.float32)
    labels = np.array([*[0] * len(small), 1])
    drawn = draw_boxes(np.zeros((60, 84, 3), np.uint8), boxes, labels, PALETTE, ["", "b"])
    assert (drawn[:30] == PALETTE[1]).all(-1).sum() > 50
    for x, y, right, bottom in small[:14]:
        assert (drawn[y, x:right] == PALETTE[0]).all()
        assert (drawn[y:bottom, x] == PALETTE[0]).all()


def names_drawn(boxes: list[tuple[float, ...]], scores: list[float] | None = None) -> list[tuple[int, ...]]:
    """Corners of the grounds of the names of equal boxes, all in one color each, without outlines."""
    colors = [(200, 10 * index, 0) for index in range(len(boxes))]
    image = np.zeros((100, 200, 3), np.uint8)
    labels, names = np.arange(len(boxes)), ["car"] * len(boxes)
    drawn = draw_boxes(image, np.array(boxes, np.float32), labels, colors, names, scores and np.float32(scores))
    grounds = []
    for (left, top, right, bottom), color in zip(boxes, colors, strict=True):
        is_ground = (drawn == color).all(-1)
        is_ground[int(top) : int(bottom), [int(left), int(right) - 1]] = False
        is_ground[[int(top), int(bottom) - 1], int(left) : int(right)] = False
        rows, columns = np.nonzero(is_ground)
        grounds.append((rows.min(), rows.max(), columns.min(), columns.max()) if rows.size else ())
    return grounds


def test_names_of_boxes_do_not_lie_on_each_other() -> None:
    one, other = names_drawn([(50, 40, 110, 60), (54, 42, 114, 62)])
    assert one
    assert other
    assert one[1] < other[0] or other[1] < one[0] or one[3] < other[2] or other[3] < one[2]


def test_the_surest_box_keeps_its_place_and_one_without_room_has_no_name() -> None:
    crowd = [(50.0, 40.0, 110.0, 60.0)] * 12
    scores = [0.5 + 0.01 * index for index in range(12)]
    grounds = names_drawn(crowd, scores)
    above = names_drawn(crowd[:1], scores[-1:])[0]
    assert grounds[-1] == above
    assert () in grounds


def test_a_name_keeps_clear_of_the_outlines_of_others() -> None:
    image, boxes = np.zeros((100, 200, 3), np.uint8), [(50, 40, 110, 60), (40, 30, 70, 38)]
    drawn = draw_boxes(image, *boxes_and_labels(*boxes), [(200, 0, 9), (0, 200, 0)], ["a", ""])
    assert not (drawn[:40] == (200, 0, 9)).all(-1)[:, :72].any()
    assert (drawn[:40] == (200, 0, 9)).all(-1).any()


def test_dark_outlines_have_a_light_rim_where_they_are_thick() -> None:
    image, box = np.zeros((60, 80, 3), np.uint8), boxes_and_labels((10, 30, 70, 50))
    for color, thickness, has_rim in (((0, 0, 70), 2, True), ((250, 250, 0), 2, False), ((0, 0, 70), 1, False)):
        drawn = draw_boxes(image, *box, [color], [""], thickness=thickness)
        assert (drawn == color).all(-1).any()
        assert bool((drawn.min(-1) > 200).any()) is has_rim


def test_an_empty_name_is_not_written() -> None:
    drawn = draw_boxes(np.zeros((60, 80, 3), np.uint8), *boxes_and_labels((10, 30, 70, 50)), PALETTE, ["", ""])
    assert not drawn[:30].any()


def test_no_boxes_leave_the_image_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert np.array_equal(draw_boxes(image, *boxes_and_labels(), PALETTE, ["a", "b"]), image)


@pytest.mark.parametrize(("palette", "names"), [(PALETTE, ["a"]), (PALETTE[:1], ["a", "b"])])
def test_draw_boxes_refuses_a_class_without_color_or_name(palette: tuple, names: list[str]) -> None:
    boxes, labels = boxes_and_labels((0, 0, 1, 1), (0, 0, 1, 1))
    with pytest.raises(ValueError, match="expected labels within 0 and 0, got 0 to 1"):
        draw_boxes(np.zeros((6, 8, 3), np.uint8), boxes, labels, palette, names)


def legend_of(picture: np.ndarray, names: list[str], palette: tuple) -> np.ndarray:
    shown = with_legend(picture, names, palette)
    assert np.array_equal(shown[: picture.shape[0], : picture.shape[1]], picture)
    return shown[picture.shape[0] :]


def test_a_legend_has_a_swatch_and_a_name_for_each_class() -> None:
    picture = np.full((40, 300, 3), 99, np.uint8)
    palette = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    legend = legend_of(picture, ["road", "sky", "traffic light"], palette)
    middles = []
    for color in palette:
        rows, columns = np.nonzero((legend == color).all(-1))
        assert np.ptp(rows) > 10
        assert np.ptp(columns) > 10
        middles.append((rows.mean(), columns.mean()))
        letters = legend[rows.min() : rows.max() + 1, columns.max() + 2 : columns.max() + 25]
        assert (letters.max(-1) < 120).any()  # black on white, right of the swatch
    assert middles[0][1] < middles[1][1]  # side by side where there is room


def test_a_legend_breaks_into_lines_and_widens_a_narrow_picture() -> None:
    names = [f"class {index}" for index in range(7)]
    palette = tuple((200, 20 * index, 0) for index in range(7))
    heights = [len(legend_of(np.zeros((10, width, 3), np.uint8), names, palette)) for width in (800, 300, 20)]
    assert heights[0] < heights[1] < heights[2]
    assert with_legend(np.zeros((10, 20, 3), np.uint8), names, palette).shape[1] > 60


def test_letters_of_wide_pictures_are_larger() -> None:
    def height_of_swatch(width: int) -> int:
        legend = legend_of(np.zeros((10, width, 3), np.uint8), ["a"], ((200, 0, 0),))
        return int((legend == (200, 0, 0)).all(-1).any(1).sum())

    assert height_of_swatch(4000) == pytest.approx(4 * height_of_swatch(1000), abs=2)


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_a_legend_needs_a_name_for_each_color(names: list[str]) -> None:
    with pytest.raises(ValueError, match="expected one name for each of 2 colors, got"):
        with_legend(np.zeros((4, 4, 3), np.uint8), names, PALETTE)


def test_without_classes_there_is_no_legend() -> None:
    picture = np.full((4, 4, 3), 9, np.uint8)
    assert np.array_equal(with_legend(picture, [], []), picture)
