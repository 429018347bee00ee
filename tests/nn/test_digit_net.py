import pytest
import torch

from lightning_edge.nn import DigitNet


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (40, 24)])
def test_images_of_about_32_pixels_have_one_logit_for_each_class(size):
    net = DigitNet(7, width=4, num_features=9)
    assert net(torch.rand(2, 3, *size)).shape == (2, 7)
    assert net.num_classes == 7


def test_the_classifier_takes_the_features():
    torch.manual_seed(0)
    net, seen = DigitNet(3, width=2, num_features=5), []
    net.classifier.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    image = torch.rand(4, 3, 32, 32)
    logits = net(image)
    assert seen[0].shape == (4, 5)
    assert seen[0].min() >= 0
    torch.testing.assert_close(logits, seen[0] @ net.classifier.weight.T + net.classifier.bias)
    torch.testing.assert_close(seen[0], net.features(net.convolutions(2 * image - 1)))


def test_the_number_of_parameters_is_that_of_the_layers():
    convolutions = 3 * 16 * 25 + (16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) * 9
    norms = 2 * (16 + 32 + 32 + 64 + 64)
    linear = (1024 + 1) * 128 + (128 + 1) * 10
    assert sum(parameter.numel() for parameter in DigitNet(10).parameters()) == convolutions + norms + linear


def test_a_prediction_does_not_depend_on_the_others_of_its_batch():
    torch.manual_seed(0)
    net, image = DigitNet(3, width=4).eval(), torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(net(image)[1:2], net(image[1:2]))


@pytest.mark.parametrize("argument", ["num_classes", "width", "num_features"])
def test_numbers_below_1_are_refused(argument):
    with pytest.raises(ValueError, match=f"expected {argument} of at least 1, got 0"):
        DigitNet(**{"num_classes": 2, argument: 0})
