import pytest
import torch

from lightning_edge.ops.classes import predict_classes


@pytest.mark.parametrize("shape", [(1, 19, 12, 20), (3, 2, 5, 7), (2, 1, 4, 4), (1, 5, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_the_first_class_of_the_highest_score(shape, dtype):
    scores = torch.randint(-3, 3, shape, generator=torch.Generator().manual_seed(0)).to(dtype)  # with ties
    for given in (scores, scores.contiguous(memory_format=torch.channels_last), scores.transpose(2, 3)):
        assert torch.equal(predict_classes(given), given.argmax(1))
