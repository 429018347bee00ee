"""Nets of timm as classifiers of plain images."""

import pytest
import timm
import torch

from lightning_edge.nn import TimmClassifier

NAME = "cifar_resnet20"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(5)
    net = timm.create_model(NAME)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    return net.state_dict(), str(tmp_path / "weights.pth")


def test_a_classifier_normalizes():
    net = TimmClassifier(NAME, num_classes=4).eval()
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(net.net.default_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(net(image), net.net((image - mean) / std))


@pytest.mark.parametrize("num_classes", [10, 4])
def test_weights_of_a_file_are_loaded_but_for_another_number_of_classes(weights, num_classes):
    state, path = weights
    actual = TimmClassifier(NAME, num_classes, weights=path).net.state_dict()
    for name, value in state.items():
        assert torch.equal(value, actual[name]) == (num_classes == 10 or not name.startswith("fc.")), name


@pytest.mark.parametrize("in_file", [4, 0])
def test_the_number_of_classes_is_that_of_the_file(tmp_path, in_file):
    """And not that of timm's own weights."""
    net = timm.create_model(NAME, num_classes=in_file)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    actual = TimmClassifier(NAME, 4, weights=str(tmp_path / "weights.pth")).net.state_dict()
    assert all(torch.equal(value, actual[name]) for name, value in net.state_dict().items())
    assert actual["fc.weight"].shape == (4, 64)


@pytest.mark.parametrize("num_classes", [10, 4])
@pytest.mark.parametrize("name", ["stage2.0.residual.0.weight", "stem.1.running_mean"])
def test_a_file_that_lacks_weights_is_refused(weights, tmp_path, num_classes, name):
    state, _ = weights
    del state[name]
    torch.save(state, tmp_path / "lacks_one.pth")
    with pytest.raises(ValueError, match=f"(?s)expected weights with exactly the parameters of {NAME}, .*{name}"):
        TimmClassifier(NAME, num_classes, weights=str(tmp_path / "lacks_one.pth"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "shiftresnet21"}, ValueError, "expected model to be a timm model, such as .*'shiftresnet20'"),
        ({"model": NAME, "model_options": {"expansion": 3}}, ValueError, "takes .*'expansion': 3"),
        ({"model": NAME, "weights": "nowhere.pth"}, FileNotFoundError, "expected weights to be a file .*nowhere.pth"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        TimmClassifier(num_classes=10, **arguments)
