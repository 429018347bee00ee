"""Batch norms with separate running statistics for each time at which a net is applied."""

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_edge.torch_internals import BatchNorm

_KINDS = ("running_mean", "running_var", "num_batches_tracked")


class StatisticsByTime:
    """Gives the running statistics of a net's batch norms one row for each time. The net uses one row at a time.

    The rows are the buffers of the norms themselves. So functions that reset, copy, average or convert batch norms do
    so for all rows: ``update_bn``, stochastic weight averaging, synchronized batch norm.

    Args:
        net: Net with batch norms that track running statistics. Their buffers are changed in place.
        times: Times at which the net is applied, in ascending order.

    Raises:
        ValueError: The net has no such batch norms, or they already have several rows.
    """

    def __init__(self, net: nn.Module, times: Sequence[float]) -> None:
        norms = {name: norm for name, norm in net.named_modules() if isinstance(norm, BatchNorm)}
        tracking = {name: norm for name, norm in norms.items() if norm.track_running_stats}
        if not tracking:
            name = type(net).__name__
            raise ValueError(f"norm_by_time expected batch norms that track running statistics, got {name} without any")
        if any(norm.get_buffer("running_mean").ndim > 1 for norm in tracking.values()):
            raise ValueError(
                "norm_by_time expected batch norms with one set of statistics, got several sets: use a copy of the net"
            )
        self.times = tuple(times)
        self._names = tuple(tracking)  # names and not modules, because the norms can be replaced
        for norm in tracking.values():
            for kind in _KINDS:
                own = norm.get_buffer(kind)
                norm.register_buffer(kind, own.expand(len(times), *own.shape).clone())

    def rows(self, net: nn.Module, time: float) -> dict[str, Tensor]:
        """Statistics at a time, by their names in the net; between two times, those of the earlier time."""
        row = max(0, sum(earlier < time + 1e-6 for earlier in self.times) - 1)
        norms = {name: net.get_submodule(name) for name in self._names}
        return {
            f"{name}.{kind}" if name else kind: norm.get_buffer(kind)[row]
            for name, norm in norms.items()
            for kind in _KINDS
        }
