import copy
import pickle

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.optical_flow import raft_small

from lightning_edge.nn import DISFlow, FlowNetS, RAFTFlow


@pytest.fixture
def textured():
    noise = torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (128, 256), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
def test_dis_points_to_where_a_pixel_was(textured, preset):
    moved_right = torch.roll(textured, 3, -1)
    flow = DISFlow(preset)(moved_right, textured)
    inside = flow[..., 16:-16, 16:-16]
    assert inside[:, 0].median().item() == pytest.approx(-3, abs=0.2)
    assert inside[:, 1].median().item() == pytest.approx(0, abs=0.2)


def test_dis_sees_no_motion_in_a_still(textured):
    assert DISFlow()(textured, textured).abs().max() < 0.05


def test_dis_takes_tiny_frames_and_survives_copies(textured):
    flow = pickle.loads(pickle.dumps(copy.deepcopy(DISFlow())))
    assert flow(textured[..., :8, :8], textured[..., :8, :8]).shape == (1, 2, 8, 8)


def test_flownet_has_the_size_of_the_paper():
    assert sum(p.numel() for p in FlowNetS().parameters()) == pytest.approx(38.7e6, rel=0.01)


@pytest.mark.parametrize("size", [(128, 256), (90, 130), (64, 65)])
def test_flownet_gives_an_eighth_of_any_size(size):
    frames = torch.rand(2, 3, *size)
    flow = FlowNetS(width=0.125)(frames, frames)
    assert flow.shape == (2, 2, -(-size[0] // 8), -(-size[1] // 8))


@torch.inference_mode()
def test_flownet_predicts_in_units_of_twenty_pixels_of_its_halved_input():
    net, frames = FlowNetS(width=0.125), torch.rand(1, 3, 128, 256)
    net.predict[-1].weight.zero_()
    net.predict[-1].bias.copy_(torch.tensor([1.0, 0.0]))
    flow = net(frames, frames)
    assert (flow[:, 0] * 8 == 40).all()
    assert (flow[:, 1] == 0).all()


def test_flownet_learns_a_translation(textured):
    torch.manual_seed(0)
    net = FlowNetS(width=0.125)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    current = torch.roll(textured, 8, -1)
    for _ in range(60):
        loss = (net(current, textured) - torch.tensor([-1.0, 0.0]).view(1, 2, 1, 1)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.25


def test_flownet_refuses_a_width_of_nothing():
    with pytest.raises(ValueError, match=r"expected width within \(0, 4\], got 0"):
        FlowNetS(width=0)


@torch.inference_mode()
def test_raft_is_that_of_torchvision(tmp_path):
    torch.manual_seed(0)
    raft = raft_small().eval()
    torch.save(raft.state_dict(), tmp_path / "raft.pth")
    current, previous = torch.rand(2, 1, 3, 128, 136, generator=torch.Generator().manual_seed(0))
    expected = raft(2 * current - 1, 2 * previous - 1, num_flow_updates=3)[-1]
    flow = RAFTFlow(str(tmp_path / "raft.pth"), num_updates=3).eval()
    torch.testing.assert_close(flow(current, previous), expected)


@torch.inference_mode()
def test_raft_takes_frames_of_any_size():
    """Each is filled up below and to the right, whose flow is cut off."""
    flow = RAFTFlow(num_updates=1).eval()
    frames = torch.rand(2, 1, 3, 130, 131, generator=torch.Generator().manual_seed(0))
    filled = torch.cat((frames, frames[..., -1:, :].expand(-1, -1, -1, 6, -1)), -2)
    filled = torch.cat((filled, filled[..., -1:].expand(-1, -1, -1, -1, 5)), -1)
    torch.testing.assert_close(flow(*frames), flow(*filled)[..., :130, :131])
    assert flow(torch.rand(1, 3, 50, 60), torch.rand(1, 3, 50, 60)).shape == (1, 2, 50, 60)


def test_raft_names_weights_that_are_missing():
    with pytest.raises(FileNotFoundError, match="expected weights to be a file of weights of torchvision's RAFT"):
        RAFTFlow("nowhere.pth")
