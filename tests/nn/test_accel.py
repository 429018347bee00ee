import pytest
import torch
from torch import nn

from lightning_edge.nn import AccelNet, DeepLab, DISFlow, FlowNetS, SegmentationBranch
from lightning_edge.ops.warp import warp


class ConstantFlow(nn.Module):
    """Moves everything by whole cells of a stride-16 feature map."""

    def __init__(self, right_cells, down_cells):
        super().__init__()
        self.cells = right_cells, down_cells

    def forward(self, current, previous):
        flow = current.new_zeros(len(current), 2, *current.shape[-2:])
        flow[:, 0], flow[:, 1] = 16 * self.cells[0], 16 * self.cells[1]
        return flow


@pytest.fixture
def branches():
    torch.manual_seed(0)
    return DeepLab("resnet10t", 5).eval(), DeepLab("mobilenetv3_small_050", 5).eval()


@pytest.fixture
def clip():
    return torch.rand(2, 4, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_deeplab_has_features_and_scores_of_its_strides(branches, clip):
    features = branches[0].features(clip[:, 0])
    assert features.shape == (2, branches[0].feature_channels, 4, 6)
    assert branches[0](clip[:, 0]).shape == (2, 5, 64, 96)


@torch.inference_mode()
def test_key_frame_is_the_reference_branch_alone(branches, clip):
    net = AccelNet(*branches, flow=DISFlow())
    frame = clip[:, 0]
    torch.testing.assert_close(net.logits(net.start(frame)), branches[0](frame), rtol=0, atol=0)
    torch.testing.assert_close(net(clip[:, :1]), branches[0](frame), rtol=0, atol=0)


@torch.inference_mode()
def test_new_fusion_picks_the_reference_branch_which_is_deep_feature_flow(branches, clip):
    net = AccelNet(*branches, flow=DISFlow()).eval()
    torch.testing.assert_close(net(clip), AccelNet(branches[0], flow=DISFlow())(clip))


@torch.inference_mode()
def test_fusion_that_picks_the_update_branch_is_the_update_net(branches, clip):
    net = AccelNet(*branches, flow=DISFlow()).eval()
    net.fusion.weight.zero_()
    net.fusion.weight[:, 5:, 0, 0] = torch.eye(5)
    torch.testing.assert_close(net(clip), branches[1](clip[:, -1]))


@torch.inference_mode()
def test_without_flow_features_are_copied(branches, clip):
    torch.testing.assert_close(AccelNet(branches[0])(clip), branches[0](clip[:, 0]), rtol=0, atol=0)


@torch.inference_mode()
def test_fusing_before_interpolation_equals_fusing_at_full_size(branches, clip):
    net = AccelNet(*branches, flow=DISFlow()).eval()
    nn.init.normal_(net.fusion.weight)
    nn.init.normal_(net.fusion.bias)
    state = net.advance(net.start(clip[:, 0]), clip[:, 1])
    scores = net.reference.head(net.aligned(state)), net.run_update_branch(clip[:, 1])
    full_size = [nn.functional.interpolate(s, (64, 96), mode="bilinear") for s in scores]
    torch.testing.assert_close(net.logits(state), net.fusion(torch.cat(full_size, 1)), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_incremental_warps_add_up_and_direct_ones_do_not(branches, clip):
    reference = branches[0]
    features = reference.features(clip[:, 0])
    shift = ConstantFlow(1, 0)
    cells = torch.zeros(2, 2, *features.shape[-2:])
    cells[:, 0] = 1
    once, thrice = warp(features, cells), warp(warp(warp(features, cells), cells), cells)
    incremental, direct = AccelNet(reference, flow=shift), AccelNet(reference, flow=shift, direct=True)
    torch.testing.assert_close(incremental.aligned(incremental.propagate(clip)), thrice)
    torch.testing.assert_close(direct.aligned(direct.propagate(clip)), once)


class AskedFlow(nn.Module):
    """Zero flow that remembers which frames it was asked for, by the value of their first pixel."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, current, previous):
        self.asked.append((int(current[0, 0, 0, 0]), int(previous[0, 0, 0, 0])))
        return current.new_zeros(len(current), 2, *current.shape[-2:])


@pytest.mark.parametrize(("direct", "pairs"), [(False, [(1, 0), (2, 1), (3, 2)]), (True, [(3, 0)])])
def test_flow_is_asked_from_the_present_frame_to_the_earlier_one(branches, direct, pairs):
    flow = AskedFlow()
    frames = torch.arange(4.0).view(1, 4, 1, 1, 1).expand(1, 4, 3, 64, 96)
    with torch.inference_mode():
        AccelNet(branches[0], flow=flow, direct=direct)(frames)
    assert flow.asked == pairs


class BrightnessBranch(SegmentationBranch):
    """Features that are the picture itself, in cells of four pixels."""

    num_classes = 3
    head = nn.Identity()

    def features(self, image):
        return nn.functional.avg_pool2d(image, 4)


@pytest.mark.parametrize("direct", [False, True])
def test_features_follow_what_moves(direct):
    """A texture that moves by a cell of features a frame is where its features are propagated, three frames later."""
    noise = torch.rand(1, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    wide = nn.functional.interpolate(noise, (160, 224), mode="bicubic").clamp(0, 1)
    clip = torch.stack([wide[..., 16 - 4 * t : 144 - 4 * t, 24 - 4 * t : 216 - 4 * t] for t in range(4)], 1)
    branch = BrightnessBranch()
    with torch.inference_mode():
        net = AccelNet(branch, flow=DISFlow("medium"), direct=direct)
        propagated = net.aligned(net.propagate(clip))
    present, first = branch.features(clip[:, -1]), branch.features(clip[:, 0])
    error, error_without = [(features - present)[..., 4:-4, 4:-4].abs().mean() for features in (propagated, first)]
    assert error < 0.1 * error_without


@torch.inference_mode()
def test_branches_of_different_strides_are_fused_at_the_finer_one(clip):
    net = AccelNet(DeepLab("resnet10t", 5, output_stride=16), DeepLab("mobilenetv3_small_050", 5, output_stride=8))
    state = net.eval().advance(net.start(clip[:, 0]), clip[:, 1])
    assert net.fuse(net.propagated_output(net.aligned(state)), net.run_update_branch(state.frame)).shape[-2:] == (8, 12)


@torch.inference_mode()
def test_new_fusion_of_features_is_what_it_starts_from(branches, clip):
    """The paper's net of one shared encoder starts as the reference on every frame, one of two encoders as DFF."""
    shared = AccelNet(branches[0], flow=DISFlow(), fuse_features=True).eval()
    torch.testing.assert_close(shared(clip), branches[0](clip[:, -1]))
    apart = AccelNet(*branches, flow=DISFlow(), fuse_features=True).eval()
    torch.testing.assert_close(apart(clip), AccelNet(branches[0], flow=DISFlow())(clip))


@torch.inference_mode()
def test_fusion_of_features_sees_both_frames(branches, clip):
    net = AccelNet(branches[0], flow=DISFlow(), fuse_features=True).eval()
    nn.init.normal_(net.fusion.weight, std=0.01)
    propagated, present = net.aligned(net.propagate(clip)), branches[0].features(clip[:, -1])
    weight = net.fusion.weight[:, :, 0, 0]
    mixed = torch.einsum("oc,bchw->bohw", weight, torch.cat((propagated, present), 1)) + net.fusion.bias.view(-1, 1, 1)
    expected = nn.functional.interpolate(branches[0].head(mixed), (64, 96), mode="bilinear")
    torch.testing.assert_close(net(clip), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fuse_features", [False, True])
@torch.inference_mode()
def test_what_is_observed_can_be_shared(branches, clip, fuse_features):
    net = AccelNet(*branches, flow=DISFlow(), fuse_features=fuse_features).eval()
    nn.init.normal_(net.fusion.weight)
    state = net.propagate(clip)
    shared = state._replace(update_output=net.run_update_branch(clip[:, -1]))
    torch.testing.assert_close(net.logits(shared), net.logits(state), rtol=0, atol=0)
    assert net.advance(shared, clip[:, 0]).update_output is None
    expected = branches[1].head(branches[1].features(clip[:, -1]))
    torch.testing.assert_close(net.update_logits(net.run_update_branch(clip[:, -1])), expected, rtol=0, atol=0)


def test_gradient_reaches_the_key_frame_and_the_flow_through_the_chain(branches, clip):
    net = AccelNet(*branches, flow=FlowNetS(width=0.125))
    frames = clip.clone().requires_grad_()
    net(frames).square().sum().backward()
    assert (frames.grad.abs().sum((0, 2, 3, 4)) > 0).all()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_branches_must_agree_on_the_classes():
    with pytest.raises(ValueError, match="got 5 for reference and 4 for update"):
        AccelNet(DeepLab("resnet10t", 5), DeepLab("resnet10t", 4))
