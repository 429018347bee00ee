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


@pytest.mark.parametrize(
    ("encoder", "channels", "num_parameters"), [("resnet18_half", 256, 2_814_976), ("resnet10_quarter", 128, 324_576)]
)
def test_small_encoders_are_thin_residual_nets(encoder, channels, num_parameters):
    net = DeepLab(encoder, 5)
    assert net.feature_channels == channels
    assert sum(parameter.numel() for parameter in net.encoder.parameters()) == num_parameters


def test_options_reach_the_encoder():
    thin = DeepLab("resnet18", 5, encoder_options={"channels": (8, 16, 32, 64)})
    assert thin.feature_channels == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "resnet81"}, r"expected encoder to be a timm model, such as \['resnet\d+'.*got 'resnet81'"),
        ({"encoder": "resnet18.no_such_tag"}, "expected encoder to be a timm model .*'resnet18.no_such_tag': .*tag"),
        ({"encoder": "vgg11"}, "expected encoder to be a timm model that takes .*'output_stride': 16.*got 'vgg11'"),
        (
            {"encoder": "resnet18", "encoder_options": {"chanels": 3}},
            "'chanels': 3}, got 'resnet18': .*'chanels'",
        ),
        ({"encoder": "resnet18", "weights": "nowhere.pth"}, "expected weights to be a file .*, got nowhere.pth"),
    ],
)
def test_an_encoder_that_cannot_be_made_is_named(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        DeepLab(num_classes=5, **arguments)


def test_weights_of_a_file_are_loaded(tmp_path):
    torch.manual_seed(0)
    first = DeepLab("resnet10t", 5)
    torch.save(first.encoder.state_dict(), tmp_path / "encoder.pth")
    second = DeepLab("resnet10t", 5, weights=str(tmp_path / "encoder.pth"))
    for name, value in first.encoder.state_dict().items():
        torch.testing.assert_close(second.encoder.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_a_file_of_other_weights_is_refused(tmp_path):
    weights = DeepLab("resnet10t", 5).encoder.state_dict()
    del weights["layer1.0.conv1.weight"]
    torch.save(weights, tmp_path / "lacks_one.pth")
    torch.save({"foo": torch.zeros(3)}, tmp_path / "others.pth")
    with pytest.raises(
        ValueError, match=r"the parameters of resnet10t, .*lacks_one.pth: .*Missing.*layer1.0.conv1.weight"
    ):
        DeepLab("resnet10t", 5, weights=str(tmp_path / "lacks_one.pth"))
    with pytest.raises(ValueError, match=r"others.pth: .*Missing.*conv1"):
        DeepLab("resnet10t", 5, weights=str(tmp_path / "others.pth"))


def test_normalization_is_that_of_the_encoder():
    net = DeepLab("resnet10t", 5)
    image = net.normalize.mean.expand(-1, 8, 8)[None]
    torch.testing.assert_close(net.normalize(image), torch.zeros_like(image))


@pytest.mark.parametrize(
    ("options", "strides"), [({"out_indices": (1, 3)}, r"\[4, 16\]"), ({"out_indices": (1,)}, r"\[4\]")]
)
def test_options_that_give_other_maps_are_refused(options, strides):
    with pytest.raises(
        ValueError,
        match=rf"^expected an encoder with one feature map, of output_stride 16, .*strides {strides}$",
    ):
        DeepLab("resnet10_quarter", 5, encoder_options=options)
