"""Lightning's summary of a model, without its wrong count of 0 operations."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichModelSummary
from lightning.pytorch.utilities.model_summary.model_summary import get_formatted_model_size, get_human_readable_count
from rich.console import Console
from rich.table import Table
from typing_extensions import override


class HonestSummary(RichModelSummary):
    """Shows operations only if the module has an ``example_input_array``. Without one, Lightning shows 0."""

    @staticmethod
    @override
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int = 0,
        **summarize_kwargs: Any,
    ) -> None:
        columns = {name: cells for name, cells in summary_data if name != "FLOPs" or total_flops}
        table = Table(*columns)
        for row in zip(*columns.values(), strict=True):
            table.add_row(*row)
        total, trainable = (
            get_human_readable_count(number).strip() for number in (total_parameters, trainable_parameters)
        )
        facts = [f"{total} parameters, {trainable} of them trainable, {get_formatted_model_size(model_size)} MB"]
        if num_frozen := total_training_modes["eval"]:
            facts.append(f"{num_frozen} of {num_frozen + total_training_modes['train']} modules in evaluation mode")
        if total_flops:
            facts.append(f"{get_human_readable_count(total_flops)} FLOPs")
        console = Console()
        console.print(table)
        console.print("; ".join(facts))


def use_honest_summary(trainer: Trainer) -> None:
    """Replace Lightning's summary by this one."""
    for index, callback in enumerate(trainer.callbacks):  # pyright: ignore[reportAttributeAccessIssue]
        if type(callback) is RichModelSummary:
            trainer.callbacks[index] = HonestSummary(callback._max_depth)  # pyright: ignore[reportAttributeAccessIssue]
