import numpy as np
import pytest

from lightning_edge.ops.cityscapes_labels import LABELS
from lightning_edge.samples.world.frames import render_snippet
from lightning_edge.samples.world.labels import THINGS, Label, palette


def test_labels_are_the_official_ones():
    official = {label.label_id: label for label in LABELS}
    for label in Label:
        assert official[label].name.replace(" ", "_").upper() == label.name
        assert tuple(palette()[label]) == official[label].color


@pytest.fixture(scope="module")
def frames():
    return [list(render_snippet(seed, 2))[-1] for seed in range(8)]


def test_frames_have_the_promised_arrays(frames):
    for frame in frames:
        shape = (128, 256)
        assert (frame.image.shape, frame.image.dtype) == ((*shape, 3), np.uint8)
        assert (frame.mask.shape, frame.mask.dtype) == (shape, np.uint8)
        assert (frame.instance.shape, frame.instance.dtype) == (shape, np.int32)
        assert (frame.flow_to_previous.shape, frame.flow_to_previous.dtype) == ((*shape, 2), np.float32)
        assert (frame.occluded.shape, frame.occluded.dtype) == (shape, bool)
        assert (frame.depth_m.shape, frame.depth_m.dtype) == (shape, np.float32)
        assert np.isfinite(frame.flow_to_previous).all()
        assert (frame.depth_m > 0).all()
        assert np.isinf(frame.depth_m[frame.mask == Label.SKY]).all()
        assert set(np.unique(frame.mask)) <= set(Label)


def test_instance_ids_follow_cityscapes(frames):
    for frame in frames:
        is_thing = np.isin(frame.mask, list(THINGS))
        np.testing.assert_array_equal(frame.instance[is_thing] // 1000, frame.mask[is_thing])
        np.testing.assert_array_equal(frame.instance[~is_thing], frame.mask[~is_thing])


def test_boxes_hold_the_pixels_of_their_instance(frames):
    visible = 0
    for frame in frames:
        ids = set(np.unique(frame.instance[frame.instance >= 1000]))
        assert {box.instance_id for box in frame.boxes} == ids
        for box in frame.boxes:
            rows, columns = np.nonzero(frame.instance == box.instance_id)
            assert box.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert box.label == box.instance_id // 1000
            assert 0 < box.visible_fraction <= 1
            visible += box.visible_fraction == 1
    assert visible > 10


def test_something_hides_something(frames):
    fractions = [box.visible_fraction for frame in frames for box in frame.boxes]
    assert 0.1 < np.mean(np.array(fractions) < 0.5) < 0.8


def test_same_seed_same_frame_and_other_seed_other_frame(frames):
    again = list(render_snippet(3, 2))[-1]
    np.testing.assert_array_equal(again.image, frames[3].image)
    np.testing.assert_array_equal(again.mask, frames[3].mask)
    assert (frames[3].mask != frames[4].mask).mean() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 0}, "expected num_frames of at least 1, got 0"),
        ({"height": 8}, "expected height of at least 32, got 8"),
        ({"width": 31}, "expected width of at least 32, got 31"),
        ({"domain": "snow"}, "expected domain to be one of .*'day'.*, got 'snow'"),
        ({"frame_rate_hz": 0.0}, "expected frame_rate_hz above 0, got 0.0"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_snippet(**{"world_seed": 0, "num_frames": 1, **arguments})
