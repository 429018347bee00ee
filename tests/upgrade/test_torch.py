"""What `lightning_edge/torch_internals.py`, the callbacks and the messages expect of torch's private interfaces."""

import re
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from callbacks._training.flop_counter import FlopCounter
from callbacks._training.plain_training import STEPS_WITH_SCALED_GRADIENTS
from lightning_edge.torch_internals import (
    BatchNorm,
    NormWithStatistics,
    has_forward_hooks,
    has_forward_mode_level,
    is_compiled,
    is_in_backward_pass,
    is_in_dispatch_mode,
    is_in_transform,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)
from recipes._cli.failure import IN_A_WORKER
from recipes._cli.run_errors import OTHER_WEIGHTS

ADAPT = "adapt lightning_edge/torch_internals.py"


def test_forward_mode_is_noticed_without_a_dual_tensor():
    assert not has_forward_mode_level()
    with forward_ad.dual_level():
        assert has_forward_mode_level(), f"forward_ad._current_level does not rise within dual_level(): {ADAPT}"
    assert not has_forward_mode_level()


def test_transforms_are_noticed():
    seen = []

    def look(value):
        seen.append(is_in_transform())
        return value.sum()

    assert not is_in_transform()
    torch.vmap(look)(torch.ones(2, 3))
    torch.func.grad(look)(torch.ones(3))
    assert seen == [True, True], f"torch._C._are_functorch_transforms_active misses vmap or grad: {ADAPT}"
    assert not is_in_transform()


def test_dispatch_modes_are_noticed():
    assert not is_in_dispatch_mode()
    with FlopCounterMode(display=False):
        assert is_in_dispatch_mode(), f"torch._C._len_torch_dispatch_stack misses a dispatch mode: {ADAPT}"
    assert not is_in_dispatch_mode()


def test_a_backward_pass_is_noticed():
    seen = []
    weight = torch.ones(1, requires_grad=True)
    weight.register_hook(lambda gradient: seen.append(is_in_backward_pass()))
    assert not is_in_backward_pass()
    weight.sum().backward()
    assert seen == [True], f"torch._C._current_graph_task_id does not show a backward pass: {ADAPT}"


def test_hooks_around_a_forward_are_seen():
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        layer = torch.nn.Linear(1, 1)
        assert not has_forward_hooks(layer)
        handle = getattr(layer, register)(lambda *_: None)
        assert has_forward_hooks(layer), f"torch keeps the hooks of a module elsewhere: {ADAPT}"
        handle.remove()
        assert not has_forward_hooks(layer)


def test_compiled_parts_are_noticed():
    wrapped, in_place = nn.Linear(1, 1), nn.Linear(1, 1)
    in_place.compile()
    assert not is_compiled(nn.Sequential(wrapped))
    for compiled in (torch.compile(wrapped), in_place):
        assert is_compiled(nn.Sequential(nn.Sequential(compiled))), f"compiled modules look different: {ADAPT}"


def test_nested_structures_are_taken_apart_and_put_together_again():
    pair = namedtuple("pair", "left right")
    state = {"a": (torch.ones(1), [torch.zeros(2)]), "b": pair(torch.ones(3), torch.ones(4))}
    leaves, spec = tree_flatten(state)
    again = tree_unflatten([leaf + 1 for leaf in leaves], spec)
    sums = tree_map(lambda one, other: one + other, state, state)
    changed = f"torch.utils._pytree treats tuples, lists and dicts in another way: {ADAPT}"
    assert [len(leaf) for leaf in tree_leaves(state)] == [1, 2, 3, 4], changed
    assert type(again["b"]) is pair, changed
    assert again["a"][1][0].tolist() == [1, 1], changed
    assert sums["b"].right.tolist() == [2] * 4, changed


def test_the_private_norms_are_the_bases_of_the_public_ones():
    batch_norms = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm
    instance_norms = nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d
    for kind in (*batch_norms, *instance_norms):
        is_batch_norm = kind in batch_norms
        assert issubclass(kind, BatchNorm) == is_batch_norm, f"_BatchNorm is no longer the base of {kind}: {ADAPT}"
        assert issubclass(kind, NormWithStatistics), f"_NormBase is no longer the base of {kind}: {ADAPT}"
    for kind in (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm):
        assert not issubclass(kind, NormWithStatistics), f"_NormBase became a base of {kind}: {ADAPT}"


def test_operations_are_counted_in_inference_mode_where_an_input_of_a_module_is_a_parameter():
    net = nn.Linear(3, 5, bias=False)
    weight = nn.Parameter(torch.ones(2, 3))
    with torch.inference_mode(), FlopCounter() as counter:
        net(weight)
    adapt = "FlopCounterMode no longer counts through mod_tracker.parents: adapt callbacks/_training/flop_counter.py"
    assert counter.get_total_flops() == 2 * 2 * 3 * 5, adapt


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_fused_optimizers_say_that_they_undo_the_scale_of_gradients(make):
    weight = nn.Parameter(torch.ones(1))
    flags = {
        fused: getattr(make([weight], lr=0.1, fused=fused), STEPS_WITH_SCALED_GRADIENTS, False) for fused in (0, 1)
    }
    changed = (
        f"{STEPS_WITH_SCALED_GRADIENTS} no longer marks fused optimizers: adapt callbacks/_training/plain_training.py"
    )
    assert flags == {0: False, 1: True}, changed


class Broken:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("expected a picture, got a poem")


def test_an_error_in_a_worker_has_the_text_that_its_explanation_reads():
    with pytest.raises(ValueError, match="poem") as caught:
        list(DataLoader(Broken(), num_workers=1))
    found = IN_A_WORKER.match(str(caught.value))
    changed = f"torch words errors of DataLoader workers in another way: adapt recipes/_cli/failure.py, {caught.value}"
    assert found is not None, changed
    assert found["file"] == __file__, changed
    assert found["message"].strip() == "expected a picture, got a poem", changed


def test_the_weights_of_another_net_have_the_text_that_its_explanation_reads():
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 3).load_state_dict(nn.Linear(2, 4).state_dict())
    changed = f"torch words errors of load_state_dict in another way: adapt recipes/_cli/run_errors.py, {caught.value}"
    first, *details = str(caught.value).splitlines()
    assert first.startswith(OTHER_WEIGHTS), changed
    assert [re.match(r"\s*size mismatch for (weight|bias)", line) is not None for line in details] == [True] * 2, (
        changed
    )
