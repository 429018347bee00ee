"""Private interfaces of torch that ``lightning_edge`` uses.

This package has no other file with any, because torch may change them in any version. ``tests/upgrade/test_torch.py``
checks what each of them promises here.
"""

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # torch has no public base of all batch norms
from torch.nn.modules.batchnorm import _NormBase as NormWithStatistics  # nor one of those and the instance norms

# torch has no public functions on nested tuples, lists and dicts
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

__all__ = [
    "BatchNorm",
    "NormWithStatistics",
    "TreeSpec",
    "has_forward_hooks",
    "has_forward_mode_level",
    "is_compiled",
    "is_in_backward_pass",
    "is_in_dispatch_mode",
    "is_in_transform",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_unflatten",
]


def has_forward_mode_level() -> bool:
    """Whether forward-mode derivatives are being computed, which no public function says without a dual tensor."""
    return forward_ad._current_level >= 0


def is_in_transform() -> bool:
    """Whether a transform of ``torch.func``, such as ``vmap``, is active, which no public function says."""
    return torch._C._are_functorch_transforms_active()


def is_in_dispatch_mode() -> bool:
    """Whether a mode such as torch's counter of operations sees every operator, which no public function says."""
    return torch._C._len_torch_dispatch_stack() > 0


def has_forward_hooks(module: nn.Module) -> bool:
    """Whether hooks run before or after a module's ``forward``, which no public function says."""
    return bool(module._forward_pre_hooks or module._forward_hooks)


def is_compiled(module: nn.Module) -> bool:
    """Whether ``torch.compile`` or ``module.compile()`` compiles a module or a part, which no public function says."""
    is_by_trainer = getattr(module, "_compiler_ctx", None) is not None  # Lightning unwraps torch.compile(module)
    return is_by_trainer or any(
        "_orig_mod" in part._modules or part._compiled_call_impl is not None for part in module.modules()
    )


def is_in_backward_pass() -> bool:
    """Whether autograd is computing gradients in this thread, which no public function says."""
    return torch._C._current_graph_task_id() != -1
