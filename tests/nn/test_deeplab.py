import pytest
import torch

from lightning_edge.nn import DeepLab


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("encoder", ["resnet10t", "mobilenetv3_small_050"])
def test_features_have_the_stride_and_scores_the_size_of_the_image(encoder, stride):
    net = DeepLab(encoder, 5, output_stride=stride).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        features, scores = net.features(image), net(image)
    assert features.shape == (1, net.feature_channels, 64 // stride, 96 // stride)
    assert scores.shape == (1, 5, 64, 96)


def test_options_reach_the_encoder():
    thin = DeepLab("resnet18", 5, encoder_options={"channels": (8, 16, 32, 64)})
    assert thin.feature_channels == 64


def test_options_of_another_encoder_are_named():
    with pytest.raises(ValueError, match="expected encoder_options that the encoder mobilenetv3_small_050 takes, got"):
        DeepLab("mobilenetv3_small_050", 5, encoder_options={"channels": (8, 16, 32, 64)})


def test_weights_of_a_file_are_loaded(tmp_path):
    torch.manual_seed(0)
    first = DeepLab("resnet10t", 5)
    torch.save(first.encoder.state_dict(), tmp_path / "encoder.pth")
    second = DeepLab("resnet10t", 5, weights=str(tmp_path / "encoder.pth"))
    for name, value in first.encoder.state_dict().items():
        torch.testing.assert_close(second.encoder.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_normalisation_is_that_of_the_encoder():
    net = DeepLab("resnet10t", 5)
    image = net.normalize.mean.expand(-1, 8, 8)[None]
    torch.testing.assert_close(net.normalize(image), torch.zeros_like(image))
