"""What is logged, against predictions counted one clip and one key frame at a time."""

import pytest
import torch
from lightning.pytorch import Trainer
from torchmetrics.classification import MulticlassJaccardIndex
from toys import NUM_CLASSES, PlainBranch

from lightning_edge.methods import Accel
from lightning_edge.nn import AccelNet, FlowNetS
from lightning_edge.systems import FixedInterval

NUM_FRAMES = 3


def make_method():
    """Nets whose classes change from place to place and from net to net."""
    torch.manual_seed(0)
    net = AccelNet(PlainBranch(16), PlainBranch(4), FlowNetS(width=0.125))
    for parameter in (*net.reference.parameters(), *net.update.parameters(), *net.fusion.parameters()):
        torch.nn.init.normal_(parameter)
    torch.nn.init.constant_(net.flow.predict[-1].bias, 0.2)  # a cell
    return Accel(net, interval=2, max_interval=NUM_FRAMES)


def make_batches():
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(2, 2, NUM_FRAMES, 3, 32, 64, generator=generator)
    masks = torch.randint(0, NUM_CLASSES, (2, 2, 32, 64), generator=generator)
    masks[:, :, :4] = 255
    return [{"frames": clips, "mask": mask} for clips, mask in zip(frames, masks, strict=True)]


@torch.inference_mode()
def score(net, batches, distances):
    """Mean IoU over key frames at some distances from the label, of one summed confusion matrix."""
    metric = MulticlassJaccardIndex(NUM_CLASSES, ignore_index=255)
    for batch in batches:
        for distance in distances:
            clip = batch["frames"][:, NUM_FRAMES - 1 - distance :]
            metric.update(net(clip).argmax(1), batch["mask"])
    return metric.compute().item()


def test_scores_are_those_of_each_net_run_from_each_key_frame(tmp_path):
    method, batches = make_method(), make_batches()
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    logged = trainer.test(method, torch.utils.data.DataLoader(batches, batch_size=None), verbose=False)[0]

    method.eval()
    reference, update, flow = method.net.reference, method.net.update, method.net.flow
    nets = {
        "accel": method.net,
        "dff": AccelNet(reference, flow=flow, direct=True),
        "copy": AccelNet(reference),
    }
    expected = {
        "test/miou": score(method.net, batches, (0, 1)),
        "test/reference_miou": score(AccelNet(reference), batches, (0,)),
        "test/update_miou": score(AccelNet(update), batches, (0,)),
    }
    for name, net in nets.items():
        expected[f"test/{name}_miou"] = score(net, batches, (0, 1))
        expected[f"test/{name}_miou_worst"] = score(net, batches, (1,))
        expected |= {f"test/{name}_miou_d{distance}": score(net, batches, (distance,)) for distance in range(3)}
    assert logged == pytest.approx(expected, abs=1e-6)
    distinct = [f"test/{name}_miou_d{distance}" for name in nets for distance in (1, 2)]
    assert len({logged[key] for key in distinct}) == len(distinct), "expected nets and distances to differ"

    actual = {(net, interval): (average, worst) for net, interval, average, worst in method.interval_scores}
    assert set(actual) == {("reference", 1), ("update", 1), *((name, n) for name in nets for n in (1, 2, 3))}
    for name, net in nets.items():
        for n in (1, 2, 3):
            assert actual[name, n] == pytest.approx((score(net, batches, range(n)), score(net, batches, (n - 1,))))


def test_an_interrupted_evaluation_leaves_nothing_behind(tmp_path):
    batches = make_batches()
    torn = [batches[0], {**batches[1], "frames": batches[1]["frames"][:, :1]}]
    whole_loader, torn_loader = (torch.utils.data.DataLoader(items, batch_size=None) for items in (batches, torn))
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    fresh, disturbed = make_method(), make_method()
    with pytest.raises(ValueError, match="expected clips of max_interval"):
        trainer.validate(disturbed, torn_loader, verbose=False)
    actual = [trainer.test(method, whole_loader, verbose=False) for method in (disturbed, fresh)]
    assert actual[0] == actual[1]


@pytest.mark.parametrize(("keyframes", "expected"), [(None, [0, 2, 4]), (FixedInterval(3), [0, 3])])
def test_predict_takes_key_frames_of_the_interval_or_of_the_policy(keyframes, expected, tmp_path):
    method = make_method()
    method = Accel(method.net, interval=2, max_interval=NUM_FRAMES, keyframes=keyframes)
    frames = torch.rand(1, 3, 32, 64).repeat(5, 1, 1, 1) + 0.001 * torch.rand(5, 3, 32, 64)
    batch = {"image": frames.clamp(0, 1), "frame_index": torch.arange(5), "name": list("abcde")}
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    starts = []
    method.net.start = lambda frame, start=method.net.start: starts.append(frame) or start(frame)
    trainer.predict(method, torch.utils.data.DataLoader([batch], batch_size=None))
    assert [int((batch["image"] == start).flatten(1).all(1).nonzero()) for start in starts] == expected
