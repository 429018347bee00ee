"""A step that a CUDA graph may hold does what PyTorch's own optimizer does."""

import copy

import torch
import torch.nn.functional as F
from graphed_training import PADDING_PX, Training, pad
from torch import nn

NUM, SIDE, CLASSES = 10, 8, 4


def test_steps_are_those_of_sgd_on_crops_and_flips():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (NUM, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (NUM,), generator=generator)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5 * (SIDE - 2) ** 2, CLASSES))
    other = copy.deepcopy(net)
    training = Training(net, pad(images), labels, epochs=2, batch_size=4, rate=lambda done: 0.1 * (1 - done), seed=0)
    assert training.num_steps == 4  # two images of each epoch fill no batch
    optimizer = torch.optim.SGD(other.parameters(), lr=1, momentum=0.9, weight_decay=5e-4)
    padded = F.pad(images, [PADDING_PX] * 4)
    for step in range(training.num_steps):
        chosen, is_flipped = training.order[step], training.is_flipped[step]
        windows = []
        for index, top, left, flip in zip(chosen, *training.corner[:, step], is_flipped, strict=True):
            window = padded[index, :, top : top + SIDE, left : left + SIDE]
            windows.append(window.flip(-1) if flip else window)
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 4)
        optimizer.zero_grad()
        F.cross_entropy(other(torch.stack(windows).float() / 255), labels[chosen]).backward()
        optimizer.step()
        training.step()
    assert len(training.order[:2].flatten().unique()) == 8
    for ours, theirs in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)
