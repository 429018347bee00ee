import pytest
import torch
from toys import make_trainer

from lightning_edge.methods import Accel, PolynomialDecay
from lightning_edge.methods.segmentation import pixel_loss
from lightning_edge.nn import AccelNet, DeepLab, DISFlow, FlowNetS
from lightning_edge.nn.accel import states_by_distance
from lightning_edge.ops.resize import resize_logits


def make_net(flow=None):
    torch.manual_seed(0)
    return AccelNet(DeepLab("resnet10t", 5), DeepLab("mobilenetv3_small_050", 5), flow or DISFlow())


def make_batch(num_frames=3):
    generator = torch.Generator().manual_seed(0)
    return {
        "frames": torch.rand(2, num_frames, 3, 32, 64, generator=generator),
        "mask": torch.randint(0, 5, (2, 32, 64), generator=generator),
    }


def at_step(method, step):
    """A method of two stages of two steps each that believes to be at a step, without a trainer."""
    method.branch_stage_fraction = 0.5
    method._trainer = stub_trainer(num_steps=4, global_step=step)
    return method


def stub_trainer(num_steps, global_step=0):
    values = {"max_epochs": -1, "estimated_stepping_batches": num_steps, "global_step": global_step}
    return type("Stub", (), values | {"lr_scheduler_configs": []})()


def touched(method):
    """Names of the parts whose parameters have a gradient that is not zero."""
    return {
        name.split(".")[0] for name, p in method.net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }


def test_first_stage_trains_the_branches_on_the_labeled_frame_only():
    method = at_step(Accel(make_net(FlowNetS(0.125))), 1)
    batch = make_batch()
    batch["frames"].requires_grad_()
    method.loss(batch).backward()
    assert touched(method) == {"reference", "update"}
    seen = batch["frames"].grad.abs().sum((0, 2, 3, 4)) > 0
    assert seen.tolist() == [False, False, True]


def test_second_stage_trains_everything_through_the_chain():
    method = at_step(Accel(make_net(FlowNetS(0.125))), 2)
    batch = make_batch()
    batch["frames"].requires_grad_()
    method.loss(batch).backward()
    assert touched(method) == {"reference", "update", "fusion", "flow"}
    assert (batch["frames"].grad.abs().sum((0, 2, 3, 4)) > 0).all()


@pytest.mark.parametrize("step", [0, 2])
def test_every_parameter_has_a_gradient_in_both_stages_as_ddp_needs(step):
    method = at_step(Accel(make_net(FlowNetS(0.125))), step)
    method.loss(make_batch()).backward()
    assert all(p.grad is not None for p in method.net.parameters())


def change_of_one_step(method):
    """Names of the parameters and buffers of the net that a training step with weight decay changes."""
    before = {name: value.clone() for name, value in method.net.state_dict().items()}
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.1, weight_decay=0.1)
    batch = make_batch()
    method.train().on_train_batch_start(batch, 0)
    method.loss(batch).backward()
    method.on_before_optimizer_step(optimizer)
    optimizer.step()
    return {name for name, value in method.net.state_dict().items() if not torch.equal(value, before[name])}


def test_first_stage_leaves_the_fusion_and_the_flow_as_they_are():
    changed = change_of_one_step(at_step(Accel(make_net(FlowNetS(0.125))), 0))
    assert {name.partition(".")[0] for name in changed} == {"reference", "update"}


def test_fusion_only_changes_nothing_but_the_fusion_not_even_batch_statistics():
    changed = change_of_one_step(at_step(Accel(make_net(FlowNetS(0.125)), train_branches_jointly=False), 2))
    assert changed == {"fusion.weight", "fusion.bias"}


def test_the_second_stage_is_the_sum_of_its_losses():
    batch, net = make_batch(), make_net(FlowNetS(0.125)).eval()
    # at first the fusion ignores what is update_output
    torch.nn.init.normal_(net.fusion.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    last, state = batch["frames"][:, -1], net.propagate(batch["frames"])
    fused, on_frame, update_output, propagated = (
        pixel_loss(resize_logits(scores, batch["mask"]), batch["mask"])
        for scores in (net(batch["frames"]), net.reference(last), net.update(last), net.reference.head(state.features))
    )
    weights = {
        (0.0, 0.0): fused,
        (0.5, 0.0): fused + 0.5 * (update_output + propagated),
        (0.5, 2.0): fused + 0.5 * update_output + 2 * on_frame,
        (0.0, 2.0): fused + 2 * on_frame,
    }
    for (branch_weight, reference_weight), expected in weights.items():
        method = Accel(net, branch_weight=branch_weight, reference_weight=reference_weight).eval()
        torch.testing.assert_close(at_step(method, 2).loss(batch), expected)


def test_deep_feature_flow_may_learn_from_the_labeled_frame_too():
    batch, net = make_batch(), AccelNet(DeepLab("resnet10t", 5), flow=FlowNetS(0.125)).eval()
    alone, mixed = (at_step(Accel(net, reference_weight=weight).eval(), 2).loss(batch) for weight in (0.0, 1.0))
    torch.testing.assert_close(mixed - alone, pixel_loss(net.reference(batch["frames"][:, -1]), batch["mask"]))


@pytest.mark.parametrize("step", [0, 2])
def test_a_compiled_net_learns_the_same_parts(step):
    plain, compiled = (Accel(make_net(FlowNetS(0.125))) for _ in range(2))
    compiled.net = torch.compile(compiled.net, backend="eager")
    changed = [change_of_one_step(at_step(method, step)) for method in (plain, compiled)]
    assert {name.removeprefix("_orig_mod.") for name in changed[1]} == changed[0]
    assert len(compiled.parameter_groups()[1]["params"]) == 2


def test_a_part_that_a_subclass_adds_learns_in_both_stages():
    class Refined(AccelNet):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            self.refine = torch.nn.Conv2d(5, 5, 1)

        def logits(self, state):
            return self.refine(super().logits(state))

    net = make_net()
    method = Accel(Refined(net.reference, net.update, net.flow))
    for step in (0, 2):
        assert not {id(part) for part in at_step(method, step).frozen_modules} & {id(net), id(method.net.refine)}


def test_modules_are_left_in_the_mode_in_which_they_came(tmp_path):
    method = at_step(Accel(make_net(), train_branches_jointly=False).train(), 2)
    method.net.update.encoder.eval()  # batch statistics held by the user
    before = {name: module.training for name, module in method.named_modules()}
    for batch_idx in range(2):
        method.on_train_batch_start(make_batch(), batch_idx)
    assert not any(module.training for module in method.net.reference.modules())
    method._trainer = make_trainer(tmp_path)
    method.on_train_start()  # the next training, after one that an error ended
    assert {name: module.training for name, module in method.named_modules()} == before


def test_a_loss_of_the_fusion_alone_holds_nothing_that_does_not_learn():
    losses = []
    for weight in (0.0, 0.5):
        method = at_step(Accel(make_net(), train_branches_jointly=False, branch_weight=weight).eval(), 2)
        losses.append(method.loss(make_batch()).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"max_distance": 8}, r"max_distance of at least max_interval - 1 \(9\), got 8"),
        ({"max_distance": 9, "train_distances": (0, 1)}, r"train_distances of at least 1, got \(0, 1\)"),
    ],
)
def test_data_with_clips_too_short_are_refused_before_training(data, message):
    method = Accel(make_net())
    method._trainer = type("Stub", (), {"datamodule": type("Data", (), data)(), "callbacks": []})()
    with pytest.raises(ValueError, match=message):
        method.setup("fit")


def test_parameters_that_a_callback_registers_are_optimized():
    method = Accel(make_net())
    method.critic = torch.nn.Linear(2, 2)
    method._trainer = stub_trainer(num_steps=10)
    groups = method.configure_optimizers()["optimizer"].param_groups
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in method.parameters()}


def test_fusion_has_a_learning_rate_of_its_own():
    method = Accel(make_net(), fusion_lr_scale=4.0, schedule=PolynomialDecay(power=0, warmup=0))
    method._trainer = stub_trainer(num_steps=10)
    others, fusion = method.configure_optimizers()["optimizer"].param_groups
    assert fusion["lr"] == pytest.approx(4 * others["lr"])
    assert {id(p) for p in fusion["params"]} == {id(p) for p in method.net.fusion.parameters()}
    assert len(others["params"]) + len(fusion["params"]) == len(list(method.parameters()))


def test_ignored_pixels_do_not_count():
    method = at_step(Accel(make_net()).eval(), 0)
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
        torch.testing.assert_close(net.logits(state), net(clip[:, 3 - distance :]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, r"expected interval within 1 and max_interval \(10\), got 0"),
        ({"branch_stage_fraction": 1.5}, r"expected branch_stage_fraction within \[0, 1\], got 1.5"),
        ({"interval": 11}, r"expected interval within 1 and max_interval \(10\), got 11"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Accel(make_net(), **arguments)


def test_deep_feature_flow_learns_through_its_warps():
    method = Accel(AccelNet(DeepLab("resnet10t", 5), flow=FlowNetS(0.125)))
    loss = at_step(method, 2).loss(make_batch())
    loss.backward()
    assert touched(method) == {"reference", "flow"}
    batch = make_batch()
    expected = torch.nn.functional.cross_entropy(method.net(batch["frames"]), batch["mask"])
    torch.testing.assert_close(loss, expected)


def test_a_net_without_fusion_must_learn_jointly():
    with pytest.raises(ValueError, match="expected train_branches_jointly of True for a net that fuses nothing"):
        Accel(AccelNet(DeepLab("resnet10t", 5), flow=DISFlow()), train_branches_jointly=False)


def test_a_net_that_only_copies_features_is_refused():
    with pytest.raises(ValueError, match="expected a net with an update branch, fuse_features or a flow"):
        Accel(AccelNet(DeepLab("resnet10t", 5)))


def test_distillation_needs_an_update_branch():
    with pytest.raises(ValueError, match=r"expected distillation_weight of 0 without an update branch, got 0\.5"):
        Accel(AccelNet(DeepLab("resnet10t", 5), fuse_features=True), distillation_weight=0.5)


def test_distillation_teaches_the_update_branch_alone_and_where_nothing_is_labeled():
    gradients, losses = [], []
    for weight in (0.0, 1.0, 0.25):
        method = at_step(Accel(make_net(), distillation_weight=weight).eval(), 0)
        batch = make_batch()
        batch["mask"][:] = 255
        loss = method.loss(batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append(touched(method))
    assert gradients == [set(), {"update"}, {"update"}]
    assert losses == [0, pytest.approx(4 * losses[2]), losses[2]]


def test_features_of_one_encoder_are_trained_through_the_chain():
    """The encoder learns from the key frame and from the present one, as in Accel-101."""
    reference = make_net().reference
    method = at_step(Accel(AccelNet(reference, flow=FlowNetS(0.125), fuse_features=True)), 2)
    torch.nn.init.normal_(method.net.fusion.weight, std=0.01)
    batch = make_batch()
    batch["frames"].requires_grad_()
    method.loss(batch).backward()
    assert touched(method) == {"reference", "fusion", "flow"}
    assert (batch["frames"].grad.abs().sum((0, 2, 3, 4)) > 0).all()
    assert list(method.video_nets()) == ["reference", "copy", "dff", "accel"]


def test_short_evaluation_clips_are_refused():
    method = Accel(make_net(), max_interval=5, interval=5)
    with pytest.raises(ValueError, match=r"expected clips of max_interval \(5\) frames, got 3"):
        method.validation_step(make_batch(3), 0)


def test_training_clips_of_one_frame_are_refused_in_the_second_stage():
    method = at_step(Accel(make_net()), 2)
    with pytest.raises(ValueError, match="expected training clips of at least 2 frames, got 1"):
        method.loss(make_batch(1))


def test_a_broken_part_that_does_not_learn_yet_is_none_of_the_loss():
    """All parameters have a gradient nevertheless, for which DDP waits."""
    method = at_step(Accel(make_net()), 0)
    with torch.no_grad():
        for parameter in method.net.fusion.parameters():
            parameter.fill_(torch.nan)
    loss = method.loss(make_batch())
    loss.backward()
    assert loss.isfinite()
    assert all(not parameter.grad.any() for parameter in method.net.fusion.parameters())
