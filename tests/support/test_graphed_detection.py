"""A step that a CUDA graph may hold changes boxes with their images, and does what PyTorch's own optimizer does."""

import copy

import pytest
import torch
from graphed_detection import Changes, Images, Told, Training, changed, draw

from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.detection.center_detector import CenterDetector
from lightning_edge.nn.dynamic.ddn import DomainNet
from lightning_edge.ops.center_targets import pad_boxes

HEIGHT, WIDTH, NUM = 64, 96, 8


@pytest.fixture
def data():
    """Black images with a white rectangle in each."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(NUM, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    low = torch.randint(20, 36, (NUM, 2), generator=generator)
    high = low + torch.randint(6, 20, (NUM, 2), generator=generator)
    for index, ((left, top), (right, bottom)) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        image[index, :, top:bottom, left:right] = 255
    boxes = torch.cat([low, high], 1).float()[:, None]
    labels = torch.zeros(NUM, 1, dtype=torch.long)
    nothing = pad_boxes([boxes[0][:0]] * NUM, [labels[0][:0]] * NUM)
    return Images(image, pad_boxes(list(boxes), list(labels)), nothing, torch.tensor([WIDTH, HEIGHT]))


def test_boxes_go_where_their_objects_go(data):
    chosen, changes = draw(NUM, 5, NUM, seed=0)
    seen = set()
    for step, order in enumerate(chosen):
        now = Changes(*(values[step] for values in changes))
        image, objects, _ = changed(data, order, now)
        for picture, box, is_box in zip(image, objects.boxes_xyxy[:, 0], objects.is_box[:, 0], strict=True):
            if is_box:
                rows, columns = (picture[0] > 0.45).nonzero().unbind(1)
                around = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                assert (around - box).abs().max() <= 1
        seen |= {(bool(flip), bool(scale > 1)) for flip, scale in zip(now.is_flipped, now.scale, strict=True)}
    assert len(seen) == 4


def test_steps_are_those_of_adamw(data):
    torch.manual_seed(0)
    net = DomainNet(CenterDetector("resnet10_quarter", 2, channels=8), 3, 2, "encoder")
    other = copy.deepcopy(net).train()
    told = Told(torch.eye(3), torch.arange(NUM) % 3)
    chosen, changes = draw(NUM, 2, 4, seed=0)
    training = Training(net, data, told, chosen, changes, rate=lambda done: 1e-3 * (1 - done))
    optimizer = torch.optim.AdamW(other.parameters(), weight_decay=1e-2)
    for step, order in enumerate(chosen):
        image, objects, ignored = changed(data, order, Changes(*(values[step] for values in changes)))
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - (step + 0.5) / len(chosen))
        with in_domain(other, torch.eye(3)[order % 3]):
            losses = other.body.losses_of(other(image), objects, ignored)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        training.step()
    for ours, theirs in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
