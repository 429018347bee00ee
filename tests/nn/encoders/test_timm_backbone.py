"""Maps of timm's encoders by their strides: for each kind of net whose default maps are not its first stages."""

import pytest
import timm
import torch
from detection_batch import make_batch
from timm.models import register_model

from lightning_edge.nn import CenterDetector, DeepLab, TimmBackbone
from lightning_edge.nn.encoders.timm_encoder import feature_maps, make_encoder

THIN = {"img_size": 64, "window_size": 2, "depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 4, 8)}
SHALLOW = {"img_size": 32, "depth": 4}
PYRAMID = {4: 0, 8: 1, 16: 2, 32: 3}
CASES = {
    # by hand: timm's options, side of an image in pixels, and the last stage of each stride
    "test_resnet": ({}, 64, {2: 0, 4: 1, 8: 2, 16: 3, 32: 4}),
    "dla46_c": ({}, 64, {1: 0, 2: 1, 4: 2, 8: 3, 16: 4, 32: 5}),  # as dla34; by default timm leaves stage 0 out
    "csatv2": ({}, 128, {8: 1, 16: 2, 32: 3, 64: 4}),  # stages 0 and 1 have stride 8
    "volo_d1_224": ({"img_size": 64}, 64, {8: 0, 16: 3}),  # of its four stages, the default are the last three
    "crossvit_tiny_240": ({}, 240, {12: 2, 17: 5}),  # two branches of three stages
    "vit_tiny_patch16_224": (SHALLOW, 32, {16: 3}),
    "deit_tiny_patch16_224": (SHALLOW, 32, {16: 3}),
    "beit_base_patch16_224": (SHALLOW | {"embed_dim": 48, "num_heads": 3}, 32, {16: 3}),
    "eva02_tiny_patch14_224": ({"img_size": 28, "depth": 4}, 28, {14: 3}),
    "cait_xxs24_224": (SHALLOW, 32, {16: 3}),
    "xcit_nano_12_p16_224": (SHALLOW, 32, {16: 3}),
    "mixer_s32_224": ({"img_size": 32}, 32, {32: 7}),
    "swin_tiny_patch4_window7_224": (THIN, 64, PYRAMID),
    "swinv2_tiny_window8_256": (THIN, 64, PYRAMID),
    "mambaout_femto": ({}, 64, PYRAMID),
    "hiera_tiny_224": ({"img_size": (64, 64), "embed_dim": 16, "stages": (1, 1, 1, 1)}, 64, PYRAMID),
    "maxvit_pico_rw_256": ({"img_size": 64, "depths": (1, 1, 1, 1)}, 64, {2: 0, 4: 1, 8: 2, 16: 3, 32: 4}),
}
FIXED = ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224", "xcit_nano_12_p16_224")


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_maps_are_the_deepest_of_the_strides_with_channels_first(name, tmp_path):
    """Against timm's other way to them, which takes the numbers of the stages."""
    options, side, stage_of = CASES[name]
    whole = timm.create_model(name, **options).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    weights = str(tmp_path / "whole.pth")
    net = TimmBackbone(name, tuple(stage_of), 16, weights=weights, encoder_options=options).eval()
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    maps = feature_maps(net.encoder, image)
    expected = whole.forward_intermediates(image, indices=list(stage_of.values()), intermediates_only=True)
    for stride, actual, wanted in zip(stage_of, maps, expected, strict=True):
        assert actual.shape[2:] == (side // stride,) * 2, stride
        torch.testing.assert_close(actual, wanted)
    assert net.strides == tuple(stage_of)
    for (stride, _), feature in zip(stage_of.items(), net(image).values(), strict=False):
        assert feature.shape[1:] == (net.out_channels, side // stride, side // stride)


@pytest.mark.parametrize(
    ("name", "strides", "offered"),
    [
        ("dla46_c", (4, 8, 64), r"\[1, 2, 4, 8, 16, 32\]"),
        ("vit_tiny_patch16_224", (8, 16), r"\[16\]"),
        ("test_resnet", (), r"\[2, 4, 8, 16, 32\]"),
        ("test_resnet", (8, 8), r"\[2, 4, 8, 16, 32\]"),
    ],
)
def test_strides_on_offer_are_named(name, strides, offered):
    with pytest.raises(ValueError, match=f"expected different strides among {offered} for {name}, got"):
        TimmBackbone(name, strides)


def test_strides_are_sorted():
    net = TimmBackbone("test_resnet", (32, 8), 16).eval()
    assert net.strides == (8, 32)
    assert [feature.shape[-1] for feature in net(torch.rand(1, 3, 64, 64)).values()][:2] == [8, 2]


@register_model
def resnet_of_wrong_strides(pretrained=False, **options):
    """Its description is one stage off, as was that of an encoder whose maps were taken by the wrong numbers."""
    net = timm.create_model("test_resnet", **options)
    for stage in net.feature_info.info:
        stage["reduction"] *= 2
    return net


@register_model
def resnet_that_ignores_out_indices(pretrained=False, out_indices=(), **options):
    return timm.create_model("test_resnet", **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet_of_wrong_strides", r"strides \(8, 16\), got .* \[8, 16\] by its description and \[\(40, 40\), \(20"),
        ("resnet_that_ignores_out_indices", r"strides \(8, 16\), got .* \[2, 4, 8, 16, 32\] by its description"),
    ],
)
def test_what_was_built_is_compared_with_what_was_asked_for(name, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(name, (8, 16))


def test_the_comparison_leaves_the_net_as_it_was():
    torch.manual_seed(0)
    net = TimmBackbone("test_resnet", (16,))
    expected = timm.create_model("test_resnet").state_dict()
    assert all(module.training for module in net.modules())
    for name, value in net.encoder.state_dict().items():
        if "running" in name or "num_batches" in name:
            assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("name", FIXED)
def test_images_of_another_size_than_the_only_one_are_named(name):
    options, side, stage_of = CASES[name]
    net = TimmBackbone(name, tuple(stage_of), 16, encoder_options=options).eval()
    message = f"expected images of {side} x {side} pixels, the only size that .*{name} takes, got 96 x 128.*img_size"
    with pytest.raises(ValueError, match=message):
        net(torch.rand(1, 3, 96, 128))


@torch.inference_mode()
def test_the_size_follows_the_options():
    wide = TimmBackbone("vit_tiny_patch16_224", (16,), encoder_options=SHALLOW | {"img_size": (32, 64)}).eval()
    assert wide(torch.rand(1, 3, 32, 64))["0"].shape[2:] == (2, 4)
    free = TimmBackbone("vit_tiny_patch16_224", (16,), encoder_options=SHALLOW | {"dynamic_img_size": True}).eval()
    assert free(torch.rand(1, 3, 48, 64))["0"].shape[2:] == (3, 4)


def test_a_detector_of_swin_learns():
    net = CenterDetector("swin_tiny_patch4_window7_224", 3, channels=8, encoder_options=THIN)
    batch = make_batch(torch.rand(1, 3, 64, 64), [torch.tensor([[8.0, 12, 40, 44]])], [torch.tensor([1])])
    sum(net.losses(batch).values()).backward()
    assert next(net.encoder.parameters()).grad.abs().sum() > 0
    with pytest.raises(ValueError, match="expected images of 64 x 64 pixels"):
        net(torch.rand(1, 3, 128, 64))


def test_deeplab_names_an_encoder_without_dilation():
    with pytest.raises(ValueError, match=r"takes .*'output_stride': 16.*, got 'swin_tiny_patch4_window7_224'"):
        DeepLab("swin_tiny_patch4_window7_224", 5)


def test_an_encoder_keeps_what_timm_says_of_its_training():
    config, registered = make_encoder("test_resnet", None, {}).pretrained_cfg, timm.get_pretrained_cfg("test_resnet")
    assert (config["mean"], config["std"]) == (registered.mean, registered.std)
