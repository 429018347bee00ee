"""Running statistics of batch norms that one net, applied at several times, has for each of them."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_KINDS = ("running_mean", "running_var", "num_batches_tracked")


class StatisticsByTime:
    """Gives the running statistics of a net's batch norms a row for each time, of which the net uses one at a time.

    The rows are the buffers of the norms themselves. So whatever resets, copies, averages or converts batch norms does
    it to all rows: ``update_bn``, stochastic weight averaging, synchronized batch norm.

    Args:
        net: With batch norms that note statistics; its buffers become rows.
        times: At which the net is applied, ascending.

    Raises:
        ValueError: The net has no such batch norms, or they have rows already.
    """

    def __init__(self, net: nn.Module, times: Sequence[float]) -> None:
        norms = {name: norm for name, norm in net.named_modules() if isinstance(norm, _BatchNorm)}
        noting = {name: norm for name, norm in norms.items() if norm.track_running_stats}
        if not noting:
            name = type(net).__name__
            raise ValueError(f"expected batch norms that note statistics, for norm_by_time, got {name} without")
        if any(norm.get_buffer("running_mean").ndim > 1 for norm in noting.values()):
            raise ValueError(
                "expected batch norms with one set of statistics, for norm_by_time, got several sets: copy the net"
            )
        self.times = tuple(times)
        self._names = tuple(noting)  # not the norms, in whose place others may be put
        for norm in noting.values():
            for kind in _KINDS:
                own = norm.get_buffer(kind)
                norm.register_buffer(kind, own.expand(len(times), *own.shape).clone())

    def rows(self, net: nn.Module, time: float) -> dict[str, Tensor]:
        """Statistics by their names in the net, to be read or noted in; between two times those of the former."""
        row = max(0, sum(earlier < time + 1e-6 for earlier in self.times) - 1)
        norms = {name: net.get_submodule(name) for name in self._names}
        return {
            f"{name}.{kind}" if name else kind: norm.get_buffer(kind)[row]
            for name, norm in norms.items()
            for kind in _KINDS
        }
