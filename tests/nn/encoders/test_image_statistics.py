"""Statistics of light and color against a loop over cells."""

import pytest
import torch

from lightning_edge.nn.encoders.image_statistics import ImageStatistics


def cells(picture, rows, columns):
    """Cells of a picture, row by row; as in adaptive pooling, neighbors share a line where sides do not divide."""
    height, width = picture.shape
    for i in range(rows):
        for j in range(columns):
            top, bottom = i * height // rows, -(-(i + 1) * height // rows)
            left, right = j * width // columns, -(-(j + 1) * width // columns)
            yield picture[top:bottom, left:right]


def by_loop(image, rows, columns):
    mean = [cell.mean() for color in image for cell in cells(color, rows, columns)]
    deviation = [cell.std(correction=0) for color in image for cell in cells(color, rows, columns)]
    gray = image.mean(0)
    down, across = (gray[1:] - gray[:-1]).abs(), (gray[:, 1:] - gray[:, :-1]).abs()
    rough = [cell.mean() for steps in (down, across) for cell in cells(steps, rows, columns)]
    return torch.stack(mean + deviation + rough)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (1, 3), (3, 2)])
@pytest.mark.parametrize("size", [(12, 18), (13, 17)])
def test_statistics_are_those_of_a_loop(grid, size):
    image = torch.rand(3, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    statistics = ImageStatistics(grid)
    actual = statistics(image)
    assert actual.shape == (3, statistics.num_features)
    torch.testing.assert_close(actual, torch.stack([by_loop(one, *grid) for one in image]), rtol=1e-9, atol=1e-9)


def test_an_even_image_has_its_color_and_no_more():
    """The root must not be of a number below 0, as a mean of squares of single precision less a square may be."""
    values = torch.linspace(0, 1, 101)
    mean, rest = ImageStatistics()(values.view(-1, 1, 1, 1).expand(-1, 3, 30, 50)).split([12, 20], 1)
    torch.testing.assert_close(mean, values[:, None].expand(-1, 12), rtol=2e-5, atol=0)
    assert rest.isfinite().all()
    assert rest.abs().max() < 5e-3  # root of a sum's rounding: 375 pixels to a cell lose up to 1e-5


def test_there_is_nothing_to_learn_nor_to_keep():
    statistics = ImageStatistics()
    assert not list(statistics.parameters())
    assert not statistics.state_dict()
