"""Training images of CIFAR a second: ours beside torchvision's set with the same augmentation, in one process."""

import pytest
import torch
from rich.console import Console
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from lightning_edge.data import CIFARDataModule
from lightning_edge.samples.cifar import sample_cifar
from lightning_edge.timing import interleave, ratio

pytestmark = pytest.mark.benchmark

NUM_IMAGES = 1024


def test_images_a_second(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = sample_cifar(NUM_IMAGES, 10)
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # it knows the sums of the real files only
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    transform = transforms.Compose(
        [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    )
    theirs = DataLoader(CIFAR10(str(root), transform=transform), batch_size=128, shuffle=True, drop_last=True)
    data = CIFARDataModule(root, val_fraction=0, num_workers=0)
    data.setup("fit")
    ours = data.train_dataloader()

    def pass_through(loader: DataLoader) -> int:
        return sum(len(batch[0] if isinstance(batch, list) else batch["image"]) for batch in loader)

    assert pass_through(theirs) == pass_through(ours) == NUM_IMAGES
    times = interleave({"torchvision": lambda: pass_through(theirs), "ours": lambda: pass_through(ours)}, 20)
    value, low, high = ratio(times["ours"], times["torchvision"])
    rates = {name: 1000 * NUM_IMAGES / samples.percentile(50).value for name, samples in times.items()}
    with capsys.disabled():
        Console().print(
            f"images/s: torchvision {rates['torchvision']:.0f}, ours {rates['ours']:.0f}; "
            f"ours takes {value:.2f} [{low:.2f}, {high:.2f}] of its time; {torch.get_num_threads()} threads"
        )
