"""Running statistics of batch norms that one net, applied at several times, has for each of them."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class StatisticsByTime(nn.Module):
    """What the batch norms of a net note, a row for each time, to be put in the place of the net's own buffers.

    The net's own are in no checkpoint any more. What resets its batch norms, such as ``update_bn``, does not reset the
    rows.

    Args:
        net: With batch norms that note statistics and have a momentum.
        times: At which the net is applied, ascending.

    Raises:
        ValueError: The net has no such batch norms, or one without momentum.
    """

    def __init__(self, net: nn.Module, times: Sequence[float]) -> None:
        super().__init__()
        norms = {name: norm for name, norm in net.named_modules() if isinstance(norm, _BatchNorm)}
        noting = {name: norm for name, norm in norms.items() if norm.track_running_stats}
        if not noting:
            name = type(net).__name__
            raise ValueError(f"expected batch norms that note statistics, for norm_by_time, got {name} without")
        self.times = tuple(times)
        self._norms = tuple(noting.values())  # not as modules of this one
        self._check_momentum()
        self._buffer_of: dict[str, str] = {}
        for name, norm in noting.items():
            for kind in ("running_mean", "running_var"):
                path, own = f"{name}.{kind}" if name else kind, norm.get_buffer(kind)
                self._buffer_of[path] = path.replace(".", "-")
                self.register_buffer(self._buffer_of[path], own.repeat(len(times), 1))
                norm.register_buffer(kind, own, persistent=False)

    def forward(self, time: float) -> dict[str, Tensor]:
        """Means and variances by their names in the net, to be read or noted in; between two times of the former.

        Raises:
            ValueError: In training, a batch norm has lost its momentum.
        """
        if self.training:
            self._check_momentum()
        row = max(0, sum(earlier < time + 1e-6 for earlier in self.times) - 1)
        return {path: self.get_buffer(name)[row] for path, name in self._buffer_of.items()}

    def _check_momentum(self) -> None:
        # without one, norms average over what they count, and they count all times together
        if any(norm.momentum is None for norm in self._norms):
            raise ValueError("expected batch norms with a momentum, for norm_by_time, got momentum=None")
