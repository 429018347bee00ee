import pytest
import torch

from lightning_edge.methods import Accel, PolynomialDecay
from lightning_edge.methods.accel import states_by_distance
from lightning_edge.nn import AccelNet, DeepLab, DISFlow, FlowNetS


def make_net(flow=None):
    torch.manual_seed(0)
    return AccelNet(DeepLab("resnet10t", 5), DeepLab("mobilenetv3_small_050", 5), flow or DISFlow())


def make_batch(num_frames=3):
    generator = torch.Generator().manual_seed(0)
    return {
        "frames": torch.rand(2, num_frames, 3, 32, 64, generator=generator),
        "mask": torch.randint(0, 5, (2, 32, 64), generator=generator),
    }


def in_epoch(method, epoch):
    """A method that believes to be in an epoch, without a trainer."""
    stub = type("Stub", (), {"current_epoch": epoch, "global_step": 0})()
    method._trainer = stub
    return method


def touched(method):
    """Names of the parts whose parameters have a gradient that is not zero."""
    return {
        name.split(".")[0] for name, p in method.net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }


def test_first_stage_trains_the_branches_on_the_labelled_frame_only():
    method = in_epoch(Accel(make_net(FlowNetS(0.125)), branch_epochs=2), 1)
    batch = make_batch()
    batch["frames"].requires_grad_()
    method.loss(batch).backward()
    assert touched(method) == {"reference", "update"}
    seen = batch["frames"].grad.abs().sum((0, 2, 3, 4)) > 0
    assert seen.tolist() == [False, False, True]


def test_second_stage_trains_everything_through_the_chain():
    method = in_epoch(Accel(make_net(FlowNetS(0.125)), branch_epochs=2), 2)
    batch = make_batch()
    batch["frames"].requires_grad_()
    method.loss(batch).backward()
    assert touched(method) == {"reference", "update", "fusion", "flow"}
    assert (batch["frames"].grad.abs().sum((0, 2, 3, 4)) > 0).all()


@pytest.mark.parametrize("epoch", [0, 1])
def test_every_parameter_has_a_gradient_in_both_stages_as_ddp_needs(epoch):
    method = in_epoch(Accel(make_net(FlowNetS(0.125)), branch_epochs=1), epoch)
    method.loss(make_batch()).backward()
    assert all(p.grad is not None for p in method.net.parameters())


def test_fusion_only_changes_nothing_but_the_fusion():
    method = in_epoch(Accel(make_net(), branch_epochs=0, train_branches_jointly=False), 0)
    before = {name: p.detach().clone() for name, p in method.net.named_parameters()}
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.1, weight_decay=0.1)
    method.loss(make_batch()).backward()
    method.on_before_optimizer_step(optimizer)
    optimizer.step()
    changed = {name for name, p in method.net.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"fusion.weight", "fusion.bias"}


def test_fusion_has_a_learning_rate_of_its_own():
    method = Accel(make_net(), fusion_lr_scale=4.0, schedule=PolynomialDecay(power=0, warmup=0))
    method._trainer = type("Stub", (), {"estimated_stepping_batches": 10})()
    others, fusion = method.configure_optimizers()["optimizer"].param_groups
    assert fusion["lr"] == pytest.approx(4 * others["lr"])
    assert {id(p) for p in fusion["params"]} == {id(p) for p in method.net.fusion.parameters()}
    assert len(others["params"]) + len(fusion["params"]) == len(list(method.parameters()))


def test_ignored_pixels_do_not_count():
    method = in_epoch(Accel(make_net(), branch_epochs=1).eval(), 0)
    batch = make_batch()
    loss = method.loss(batch)
    batch["mask"][:, :16] = 255
    half = method.loss(batch)
    batch["mask"][:] = 255
    assert not torch.isclose(loss, half)
    assert method.loss(batch).item() == 0


@torch.inference_mode()
def test_states_by_distance_equal_the_clip_from_each_key_frame():
    net = make_net().eval()
    clip = make_batch(4)["frames"]
    states = states_by_distance(net, [net.start(frame) for frame in clip.unbind(1)])
    for distance, state in enumerate(states):
        torch.testing.assert_close(net.scores(state), net(clip[:, 3 - distance :]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, r"expected interval within 1 and max_interval \(10\), got 0"),
        ({"interval": 11}, r"expected interval within 1 and max_interval \(10\), got 11"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Accel(make_net(), **arguments)


def test_needs_an_update_branch():
    with pytest.raises(ValueError, match="expected a net with an update branch, got update=None"):
        Accel(AccelNet(DeepLab("resnet10t", 5)))


def test_short_evaluation_clips_are_refused():
    method = Accel(make_net(), max_interval=5, interval=5)
    with pytest.raises(ValueError, match=r"expected clips of max_interval \(5\) frames, got 3"):
        method.validation_step(make_batch(3), 0)


def test_training_clips_of_one_frame_are_refused_in_the_second_stage():
    method = in_epoch(Accel(make_net(), branch_epochs=0), 0)
    with pytest.raises(ValueError, match="expected training clips of at least 2 frames, got 1"):
        method.loss(make_batch(1))
