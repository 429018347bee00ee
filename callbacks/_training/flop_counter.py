"""A counter of operations that works in inference mode."""

from torch.utils.flop_counter import FlopCounterMode


class _NoModules:
    """Replacement for torch's module tracker that treats all modules as one."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class FlopCounter(FlopCounterMode):
    """Torch's counter without counts per module, which no public option leaves out.

    For these, it registers hooks on the gradients of a module's inputs, which fails in inference mode if an input is a
    parameter.
    """

    def __init__(self) -> None:
        super().__init__(display=False)
        self.mod_tracker = _NoModules()  # pyright: ignore[reportAttributeAccessIssue]
