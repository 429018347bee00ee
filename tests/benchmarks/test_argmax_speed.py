"""The class of each pixel, at the size of the sample world and of Cityscapes: ours beside torch's own."""

import pytest
import torch
from rich.console import Console

from lightning_edge.ops.classes import predict_classes
from lightning_edge.timing import interleave, ratio

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("size", [(128, 256), (512, 1024)])
@pytest.mark.parametrize("num_classes", [2, 11, 19])
def test_classes_of_pixels(num_classes: int, size: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    scores = torch.rand(1, num_classes, *size, generator=torch.Generator().manual_seed(0))
    times = interleave({"argmax": lambda: scores.argmax(1), "ours": lambda: predict_classes(scores)}, 30)
    value, low, high = ratio(times["ours"], times["argmax"])
    with capsys.disabled():
        torchs_ms = times["argmax"].percentile(50).value
        Console().print(
            f"{num_classes} classes {size}: argmax {torchs_ms:.2f} ms, ours {value:.2f} of it [{low:.2f}, {high:.2f}]"
        )
    assert torch.equal(predict_classes(scores), scores.argmax(1))
