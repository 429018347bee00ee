import copy
from unittest.mock import Mock

import pytest
import torch

from lightning_edge.nn import AccelNet, DeepLab, DISFlow
from lightning_edge.systems import AdaptiveInterval, VideoStream
from lightning_edge.systems.streaming.keyframes import KeyframePolicy

LAMP_AT_NIGHT = torch.zeros(3, 64, 96)
LAMP_AT_NIGHT[:, :2, :2] = 200.0  # a frame in [0, 255] that is dark on average
FAINT_LAMP = torch.zeros(3, 64, 96)
FAINT_LAMP[2, 5, 5] = 3.0  # so dark that its average is within [0, 1] everywhere


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return AccelNet(DeepLab("resnet10t", 5), DeepLab("mobilenetv3_small_050", 5), DISFlow()).eval()


@pytest.fixture(scope="module")
def video():
    """A texture that drifts two pixels a frame."""
    noise = torch.rand(1, 3, 16, 40, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(noise, (64, 160), mode="bicubic").clamp(0, 1)[0]
    return [wide[..., 2 * step : 2 * step + 96] for step in range(12)]


def _keyframes(stream, frames, indices=None):
    keys = []
    for position, frame in enumerate(frames):
        stream(frame, None if indices is None else indices[position])
        keys.append(stream.is_keyframe)
    return [position for position, is_key in enumerate(keys) if is_key]


def test_masks_equal_the_net_run_on_the_clip_since_the_key_frame(net, video):
    stream = VideoStream(net, interval=4)
    for position, frame in enumerate(video):
        clip = torch.stack(video[position - position % 4 : position + 1])[None]
        with torch.inference_mode():
            expected = net(clip)[0].argmax(0)
        assert torch.equal(stream(frame), expected)


def test_interval_one_is_the_reference_branch_on_every_frame(net, video):
    stream = VideoStream(net, interval=1)
    for frame in video[:3]:
        with torch.inference_mode():
            expected = net.reference(frame[None])[0].argmax(0)
        assert torch.equal(stream(frame), expected)


def test_a_key_frame_comes_every_interval(net, video):
    assert _keyframes(VideoStream(net, interval=5), video) == [0, 5, 10]


def test_dropped_frames_count_towards_the_interval(net, video):
    indices = [0, 1, 2, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    assert _keyframes(VideoStream(net, interval=5), video, indices) == [0, 3, 8]


def test_a_smaller_index_begins_a_new_stream(net, video):
    assert _keyframes(VideoStream(net, interval=5), video[:4], [0, 1, 0, 1]) == [0, 2]


def test_a_changed_resolution_is_a_key_frame(net, video):
    frames = [*video[:2], *(frame[..., :48, :64] for frame in video[2:4])]
    stream = VideoStream(net, interval=5)
    assert _keyframes(stream, frames) == [0, 2]
    assert stream(frames[-1]).shape == (48, 64)


def test_a_scene_cut_is_a_key_frame_unless_nobody_looks(net, video):
    frames = [*video[:2], *(1 - frame for frame in video[2:4])]
    assert _keyframes(VideoStream(net, interval=5), frames) == [0, 2]
    assert _keyframes(VideoStream(net, interval=5, cut_threshold=None), frames) == [0]


def test_reset_forgets(net, video):
    stream = VideoStream(net, interval=5)
    stream(video[0])
    stream.reset()
    assert not stream.is_keyframe
    stream(video[1])
    assert stream.is_keyframe


def test_holds_one_state_only(net, video):
    """Memory of a stream: what its state holds does not grow with the frames that went by."""

    def held(stream):
        return sum(t.numel() for t in [*stream._state[:3], stream._thumbnail])

    stream = VideoStream(net, interval=5)
    stream(video[0])
    first = held(stream)
    for frame in video[1:]:
        stream(frame)
    assert held(stream) == first


def test_interval_of_nothing_is_refused(net):
    with pytest.raises(ValueError, match="expected interval as a whole number of frames from 1, got 0"):
        VideoStream(net, interval=0)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (torch.zeros(64, 96, 3), r"floats \[3, height, width\] in \[0, 1\], got torch.float32 \[64, 96, 3\]"),
        (torch.zeros(3, 64, 96, dtype=torch.uint8), r"got torch.uint8 \[3, 64, 96\]; convert bytes"),
        (torch.zeros(1, 3, 64, 96), r"got torch.float32 \[1, 3, 64, 96\]"),
        (torch.full((3, 64, 96), torch.nan), r"expected frame in \[0, 1\], got values from nan"),
        (
            torch.full((3, 64, 96), 255.0),
            r"in \[0, 1\], got values from 255 to 255; scale values up to 255 .* frame / 255",
        ),
        (LAMP_AT_NIGHT, r"expected frame in \[0, 1\], got values from 0 to 200; scale values up to 255"),
        (FAINT_LAMP, r"expected frame in \[0, 1\], got values from 0 to 3; scale values up to 255"),
        (torch.full((3, 64, 96), -0.1), r"expected frame in \[0, 1\], got values from -0.1 to -0.1$"),
        (
            torch.zeros(3, 64, 96, dtype=torch.float64),
            r"the net's dtype \(torch.float32\), got torch.float64: use frame.to",
        ),
        (torch.zeros(3, 64, 96, dtype=torch.bfloat16), r"the net's dtype \(torch.float32\), got torch.bfloat16"),
        (torch.zeros(3, 64, 96, device="meta"), r"expected frame on the device of the net \(cpu\), got it on meta"),
        (torch.zeros(3, 0, 96), r"got torch.float32 \[3, 0, 96\]"),
    ],
)
def test_what_is_no_frame_is_refused_and_leaves_the_stream_as_it_was(net, video, frame, message):
    stream, undisturbed = VideoStream(net, interval=5), VideoStream(net, interval=5)
    for image in video[:3]:
        assert torch.equal(stream(image), undisturbed(image))
        with pytest.raises(ValueError, match=message):
            stream(frame)


def test_frames_may_have_the_nets_own_type_of_numbers(net, video):
    stream = VideoStream(copy.deepcopy(net).bfloat16(), interval=5)
    assert stream(video[0].bfloat16()).shape == (64, 96)
    with pytest.raises(ValueError, match=r"the net's dtype \(torch.bfloat16\), got torch.float32"):
        stream(video[0])


def test_a_slight_overshoot_of_interpolation_is_a_frame(net, video):
    bright = video[0].clone()
    bright[:, ::7, ::5] = 1.3
    assert VideoStream(net, interval=5)(bright).shape == (64, 96)


@pytest.mark.parametrize("fault", ["start", "advance", "logits"])
def test_after_a_fault_of_the_net_a_key_frame_comes_next(net, video, fault, monkeypatch):
    stream = VideoStream(net, interval=1 if fault == "start" else 5, cut_threshold=None)
    fresh = VideoStream(net, interval=5)
    stream(video[0])
    with monkeypatch.context() as broken:
        broken.setattr(net, fault, Mock(side_effect=RuntimeError("out of memory")))
        with pytest.raises(RuntimeError, match="out of memory"):
            stream(video[1])
    assert torch.equal(stream(video[2]), fresh(video[2]))
    assert stream.is_keyframe


def test_a_buffer_that_is_filled_again_is_as_good_as_new_frames(net, video):
    stream, expected = VideoStream(net, interval=4), VideoStream(net, interval=4)
    buffer = torch.empty_like(video[0])
    for frame in video[:6]:
        assert torch.equal(stream(buffer.copy_(frame)), expected(frame))


def test_any_video_net_will_do(video):
    class Brightness:
        """States are plain sums of brightness: nothing but the protocol."""

        def start(self, frame):
            return frame.mean(1, keepdim=True)

        def advance(self, state, frame):
            return state + frame.mean(1, keepdim=True)

        def logits(self, state):
            return torch.cat((state, 0.6 - state), 1)

    stream = VideoStream(Brightness(), interval=2)
    masks = [stream(frame) for frame in video[:3]]
    assert [int(mask.sum()) for mask in masks][1] < min(int(masks[0].sum()), int(masks[2].sum()))


def test_bad_arguments(net):
    with pytest.raises(ValueError, match="expected cut_threshold of at least 0, got -1"):
        VideoStream(net, cut_threshold=-1)


def test_a_policy_decides_where_nothing_else_does(net, video):
    moving, still = video[:6], [video[5]] * 6
    keys = _keyframes(VideoStream(net, interval=AdaptiveInterval(2, longest=6)), [*still, *moving, *still])
    assert keys[0] == 0
    assert sum(6 <= key < 12 for key in keys) > sum(key >= 12 for key in keys)


def test_a_policy_hears_of_frames_since_the_key_frame_and_goes_on_with_another_video(net, video):
    class Listens(KeyframePolicy):
        heard = ()
        num_resets = 0

        def reset(self):
            self.num_resets += 1

        def is_keyframe(self, num_frames, change, is_forced):
            self.heard += ((num_frames, is_forced),)
            return is_forced

    policy = Listens()
    stream = VideoStream(net, policy)
    for frame, index in zip(video, (3, 4, 7, 0, 1), strict=False):
        stream(frame, index)
    assert policy.heard[1:] == ((1, False), (4, False), (0, True), (1, False))
    assert policy.heard[0][1]
    assert policy.num_resets == 1  # of the constructor
