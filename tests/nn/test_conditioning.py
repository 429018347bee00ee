"""The context in which layers know the domain of each image."""

import pytest
import torch
from domain_layers import FEATURES, make_layer, run
from torch import nn

from lightning_edge.nn.conditioning import ConditionedLayer, in_domain


def test_a_table_and_rows_are_embeddings_of_images():
    _, layer = make_layer()
    image, table, row = torch.rand(4, 4, 7, 7), torch.randn(2, FEATURES), torch.tensor([1, 0, 0, 1])
    torch.testing.assert_close(run(layer, image, table, row), run(layer, image, table[row]))


def test_the_domain_is_taken_back():
    _, layer = make_layer()
    outer = torch.randn(FEATURES)
    with pytest.raises(KeyError), in_domain(layer, outer):
        raise KeyError
    assert layer.domains is None
    image = torch.rand(1, 4, 7, 7)
    with in_domain(layer, outer):
        before = layer(image)
        run(layer, image, torch.randn(FEATURES))
        assert torch.equal(layer(image), before)
    with in_domain(layer, None):
        assert layer.domains is None


def test_wrong_embeddings_are_named():
    _, layer = make_layer()
    with pytest.raises(ValueError, match=r"expected embedding with the num_features of the net \(3\), got 5"):
        run(layer, torch.rand(1, 4, 7, 7), torch.zeros(5))
    with pytest.raises(ValueError, match=r"expected one domain embedding for each image \(2\), got 3"):
        run(layer, torch.rand(2, 4, 7, 7), torch.randn(3, FEATURES))
    with pytest.raises(
        ValueError, match=r"expected embedding of floats, got torch\.int64: pass indices of domains as domain_index"
    ):
        run(layer, torch.rand(3, 4, 7, 7), torch.tensor([0, 1, 2]))
    for index in (2, -1):
        message = rf"expected domain_index of at least 0 and below 2, got {min(index, 0)} to {max(index, 0)}"
        with pytest.raises(ValueError, match=message):
            run(layer, torch.rand(2, 4, 7, 7), torch.randn(2, FEATURES), torch.tensor([0, index]))


class Brightened(ConditionedLayer):
    """Adds the first number of the domain's embedding; it has no parameters."""

    num_domain_features = 2

    def forward(self, image):
        return image if self.domains is None else image + self.domains.embeddings[0, 0]


def test_any_layer_may_depend_on_the_domain():
    net, image = nn.Sequential(Brightened()), torch.zeros(1, 3, 2, 2)
    with in_domain(net, torch.tensor([3.0, 0])):
        assert net(image).unique().tolist() == [3]
    assert net(image).unique().tolist() == [0]
    _, layer = make_layer()
    both = nn.Sequential(layer, Brightened())
    with pytest.raises(ValueError, match=r"expected embedding with the num_features of the net \(2\), got 3"):
        run(both, torch.rand(1, 4, 7, 7), torch.zeros(FEATURES))


def test_a_domain_may_be_told_in_several_forms():
    _, layer = make_layer()
    image, embedding = torch.rand(3, 4, 7, 7), torch.randn(FEATURES)
    expected = run(layer, image, embedding)
    torch.testing.assert_close(run(layer, image, embedding[None]), expected)
    torch.testing.assert_close(run(layer, image, embedding.repeat(3, 1)), expected)
    torch.testing.assert_close(run(layer, image, embedding[None], torch.zeros(3).long()), expected)
    torch.testing.assert_close(run(layer, image[:1], embedding[None]), expected[:1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(run(layer, image, embedding.double()), expected)


@pytest.mark.parametrize(
    ("embedding", "row"),
    [(torch.ones(3, FEATURES), None), (torch.ones(1, FEATURES), [0, 0, 0]), (torch.eye(FEATURES), [0, 2, 1])],
    ids=["equal rows", "a table of one", "a table"],
)
def test_too_many_embeddings_show_even_where_they_are_alike(embedding, row):
    _, layer = make_layer()
    with pytest.raises(ValueError, match=r"expected one domain embedding for each image \(2\), got 3"):
        run(layer, torch.rand(2, 4, 7, 7), embedding, None if row is None else torch.tensor(row))


def test_an_embedding_may_learn():
    _, layer = make_layer()
    layer.double()
    image = torch.rand(3, 4, 7, 7, dtype=torch.float64)
    embedding = torch.randn(2, FEATURES, dtype=torch.float64)[[0, 1, 0]].requires_grad_()
    together = run(layer, image, embedding)
    alone = torch.cat([run(layer, image[i : i + 1], embedding[i]) for i in range(3)])
    gradients = [torch.autograd.grad(actual.square().sum(), embedding)[0] for actual in (together, alone)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)
    assert gradients[0].abs().min() > 0


def test_an_error_within_gives_the_outer_domain_back():
    net = nn.Sequential(make_layer()[1], make_layer()[1])
    net[1].in_channels = 6
    with in_domain(net, torch.ones(FEATURES)):
        before = [layer.domains for layer in net]
        with in_domain(net, torch.zeros(FEATURES)):
            assert all(layer.domains is not outer for layer, outer in zip(net, before, strict=True))
        with pytest.raises(KeyError), in_domain(net, torch.zeros(FEATURES)):
            raise KeyError
        assert all(layer.domains is outer for layer, outer in zip(net, before, strict=True))
        with pytest.raises(ValueError, match="num_features of the net"), in_domain(net, torch.zeros(FEATURES + 1)):
            pass
        assert all(layer.domains is outer for layer, outer in zip(net, before, strict=True))
    assert [layer.domains for layer in net] == [None, None]
