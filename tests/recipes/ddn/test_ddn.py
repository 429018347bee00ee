"""Commands of the ddn recipe on a few small images."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_edge.checkpoints import last_checkpoint
from lightning_edge.data.domains.features import read_features
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.dynamic.conversion import specialize
from lightning_edge.systems import KnownDomains
from recipes._cli.run_config import run_config
from recipes.ddn import main
from recipes.ddn.compare import VARIANTS, make_rows
from recipes.ddn.stream import _delays

SMALL = [
    "--data.sample_size=[64,96]",
    "--data.input_size=[64,96]",
    "--data.num_samples=[10,5]",
    "--data.batch_size=2",
    "--data.num_workers=0",
]
SHORT = [
    *SMALL,
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.logger=false",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
FEW_CALLBACKS = '--trainer.callbacks=[{"class_path":"lightning.pytorch.callbacks.ModelCheckpoint"}]'
DIGITS = ["-c", "digits.yaml", "--data.num_samples=[60,40]", "--data.batch_size=8", "--data.num_workers=0"]


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("embedded") / "features.npz"
    main(["embed", *SMALL, f"--file={path}"])
    return path


def test_features_are_standardised_and_in_the_order_of_the_images(features):
    of_training = read_features(features, "train")
    assert of_training.shape == (10, 32)
    np.testing.assert_allclose(of_training.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(of_training.std(0), 1, atol=1e-3)
    data = main(["domains", *SMALL]).datamodule
    night = [index for index, record in enumerate(data.records("train")) if record.attributes["timeofday"] == "night"]
    # the first numbers are means of colors
    assert of_training[night, :12].mean() < -0.5
    assert read_features(features, "val").shape == read_features(features, "test").shape == (5, 32)


@pytest.mark.parametrize(
    "kind", ["embedding=MeanFeatureEmbedding", "embedding=EstimatedEmbedding", "partition=ByClusters"]
)
def test_features_are_written_for_data_that_wait_for_them(kind, tmp_path):
    path = tmp_path / "features.npz"
    waiting = [f"--data.{kind}", f"--data.{kind.partition('=')[0]}.features={path}"]
    if "partition" in kind:
        waiting.append("--data.partition.num_domains=3")
    main(["embed", *SMALL, *waiting, f"--file={path}"])
    assert len(main(["domains", *SMALL, *waiting]).result) >= 3


def test_domains_are_counted_before_features_are_known(tmp_path):
    waiting = ["--data.embedding=MeanFeatureEmbedding", f"--data.embedding.features={tmp_path / 'none.npz'}"]
    assert len(main(["domains", *SMALL, *waiting]).result) == 5


def test_a_refused_value_is_named_with_what_is_expected(capsys):
    for argument, said in (
        ("--model.net.gate=softmx", "expected model.net.gate as one of 'sigmoid', 'softmax', got softmx"),
        ("--model.optimizer.weight_decay=[1]", "expected model.optimizer.weight_decay as a float, got [1]"),
        ("--data.partition.num_domains=many", "expected data.partition.num_domains as an int, got many"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["fit", "--data.partition=RandomDomains", argument])
        assert capsys.readouterr().err.splitlines()[0] == f"error: {said}"


def test_a_net_is_made_for_as_many_features_as_the_data_give(features):
    arguments = ["--data.embedding=MeanFeatureEmbedding", f"--data.embedding.features={features}"]
    cli = main(["fit", *SHORT, *arguments])
    assert cli.model.net.body.encoder.conv1.router.in_features == 32
    assert cli.metrics["val/ap50"] >= 0


def test_domains_are_counted(capsys):
    counts = main(["domains", *SMALL, '--data.keep_attributes={"timeofday":["daytime"]}']).result
    assert counts == {"daytime clear": 2, "daytime rainy": 2, "daytime foggy": 2}
    assert "daytime foggy" in capsys.readouterr().out


def test_images_that_are_each_a_domain_are_not_listed(capsys):
    assert main(["domains", *SMALL, "--data.partition=EachImage"]).result == {"train": 10, "val": 5}
    assert capsys.readouterr().out.splitlines()[-1] == "Each image is a domain of its own: 10 in train and 5 in val."


def test_one_expert_under_softmax_is_the_static_net():
    variants = make_rows("features.npz", "model.net.body.encoder_options", ())
    static = main(["domains", *SMALL]).datamodule  # without a model
    assert static is not None
    net = main(["validate", *SHORT, FEW_CALLBACKS, *variants["static"].arguments]).model.net.eval()
    image = torch.rand(1, 3, 64, 96)
    plain = specialize(net, torch.zeros(28))
    with torch.no_grad():
        for embedding in torch.eye(28)[[0, 13]]:
            with in_domain(net, embedding):
                torch.testing.assert_close(net(image), plain(image), rtol=0, atol=0)


@pytest.mark.parametrize(("width", "experts"), [("wide2", 2), ("wide4", 4)])
def test_wide_nets_have_the_parameters_of_experts(width, experts):
    from lightning_edge.nn.detection.center_detector import CenterDetector
    from lightning_edge.nn.dynamic.ddn import DomainNet

    arguments = make_rows("", "width", ())[width].arguments
    options = json.loads(arguments[-1].partition("=")[2])
    wide = CenterDetector("resnet10_quarter", 10, encoder_options=options).encoder
    dynamic = DomainNet(CenterDetector("resnet10_quarter", 10), 1, experts, "encoder").body.encoder
    sizes = [sum(weight.numel() for weight in encoder.parameters()) for encoder in (wide, dynamic)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_a_comparison_goes_on_where_it_was(tmp_path, capsys):
    variants = ["static", "ddn4", "ddn4_estimated", "ddn4_shuffled", "norms"]
    arguments = ["compare", f"--folder={tmp_path}", "--num_seeds=1", *SHORT, FEW_CALLBACKS]
    main([*arguments, f"--variants={json.dumps(variants[:2])}"])
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("done.json")}
    assert len(stamps) == 4
    capsys.readouterr()
    actual = main([*arguments, f"--variants={json.dumps(variants)}"]).result
    assert set(actual) == {f"{name}_ap50" for name in variants}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    norms = sorted(path.name.removesuffix("_test") for path in (tmp_path / "seed_0/norms").iterdir())
    assert norms == ["dawn_dusk_clear", "daytime_clear", "daytime_foggy", "daytime_rainy", "night_clear"]
    of_test = json.loads(Path(tmp_path, "seed_0/ddn4_test/done.json").read_text())
    assert actual["ddn4_ap50"] == pytest.approx(
        sum(100 * value for name, value in of_test.items() if re.fullmatch("test/ap50_d.*|test/ap50_n.*", name)) / 5
    )
    with (tmp_path / "comparison.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert list(rows) == variants
    assert rows["norms"]["overall"] == ""
    assert (tmp_path / "comparison.png").is_file()
    assert "ddn4_estimated" in capsys.readouterr().out


@pytest.mark.slow
def test_nets_are_trained_on_with_a_domain_of_any_data(tmp_path):
    options = [*DIGITS, *SHORT[len(SMALL) :], FEW_CALLBACKS]
    arguments = ["compare", f"--folder={tmp_path}", "--num_seeds=1", *options]
    actual = main([*arguments, '--variants=["fine_tuned"]', "--fine_tuning_epochs=1"]).result
    assert 0 <= actual["fine_tuned_accuracy"] <= 100
    plans = [json.loads(path.read_text()) for path in tmp_path.glob("seed_0/fine_tuned/*/run.json")]
    assert sorted(plan["command"] for plan in plans) == 4 * ["fit"] + 4 * ["test"]
    assert {argument for plan in plans for argument in plan["arguments"] if "keep_attributes" in argument} == {
        f'--data.keep_attributes={{"source": ["{name}"]}}' for name in ("mnist", "mnist_m", "inverted", "blurred")
    }


def test_an_unknown_variant_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected variants among \['static', .*, got \['dnn4'\]"):
        main(["compare", f"--folder={tmp_path}", '--variants=["dnn4"]'])


def test_a_domain_without_a_score_is_named(tmp_path):
    options = [*SHORT, FEW_CALLBACKS, "--trainer.check_val_every_n_epoch=2"]
    arguments = ["compare", f"--folder={tmp_path}", "--num_seeds=1", *options]
    with pytest.raises(ValueError, match=r"expected val/ap50_\w+ to be logged .* all images .*limit_val_batches"):
        main([*arguments, "--split=val", '--variants=["static"]'])
    with pytest.raises(ValueError, match="expected data that are divided into domains ByAttributes, got RandomDomains"):
        main(["compare", f"--folder={tmp_path}", *SHORT, "--data.partition=RandomDomains"])


def test_every_variant_is_made():
    assert tuple(make_rows("features.npz", "width", ("--x",))) == VARIANTS


def test_delays_are_counted_from_each_change():
    truth = [[0], [0], [0], [2], [2], [2], [1], [1], [1]]
    noticed = [[None], [0], [0], [0], [0], [2], [2], [2], [2]]
    assert _delays(noticed, truth, 3) == [[2, None]]


def test_a_stream_is_driven_and_reported(tmp_path, capsys, monkeypatch):
    few = ["--num_frames=4", "--num_drives=1", "--window=2", "--layers_per_frame=0"]
    result = main(["stream", *SMALL, f"--folder={tmp_path}", *few]).result
    with (tmp_path / "stream.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["net"], int(row["frame"])) for row in rows] == [
        (net, frame) for net in ("domain_known", "domain_detected") for frame in range(0, 12, 2)
    ]
    assert (tmp_path / "stream.png").is_file()
    assert result["watching_ms"] > 0
    assert "switches in 12 frames" in capsys.readouterr().out
    for arguments, message in (
        (["--num_drives=0"], "expected num_drives of at least 1, got 0"),
        (["--window=7"], r"expected window to divide num_frames \(60\), so that each window has one domain, got 7"),
    ):
        with pytest.raises(ValueError, match=message):
            main(["stream", *SMALL, *arguments])
    with pytest.raises(ValueError, match="expected a DetectionDataModule as data, got DigitsDataModule"):
        main(["stream", *DIGITS])


def test_the_exported_graph_takes_the_weights_of_each_domain(tmp_path):
    pytest.importorskip("onnxscript")
    result = main(["export", *SMALL, f"--folder={tmp_path}", "--num_images=2"]).result
    assert result["largest_difference"] < 1e-4
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "dawn_dusk_clear.weights.pt", "daytime_clear.weights.pt", "daytime_foggy.weights.pt",
        "daytime_rainy.weights.pt", "net.onnx", "night_clear.weights.pt",
    ]  # fmt: skip


def test_what_a_domain_is_told_is_the_mean_of_its_images(features):
    arguments = ["--data.embedding=ImageFeatureEmbedding", f"--data.embedding.features={features}"]
    known = KnownDomains.from_images(main(["domains", *SMALL, *arguments]).datamodule.domain_images("train"))
    _, apart = known.encoder
    torch.testing.assert_close(apart(known.embeddings), known.centers, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_static_net_rides_along(tmp_path):
    with_file = [argument for argument in SHORT if "logger" not in argument]
    run_config("ddn", [*with_file, "--model.net.num_experts=1", "--model.net.gate=softmax"], tmp_path / "static")
    few = ["--num_frames=2", "--num_drives=1", "--window=2", f"--static={last_checkpoint(tmp_path / 'static')}"]
    assert "static_ap50" in main(["stream", *SMALL, f"--folder={tmp_path}", *few]).result
