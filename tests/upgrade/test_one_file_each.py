"""Each private interface of another library stands in one file, so that an upgrade changes no other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("lightning_edge", "callbacks", "recipes")


@pytest.mark.parametrize(
    ("private", "home"),
    [
        (r"torch\.utils\._pytree|batchnorm\._|batchnorm import _", "lightning_edge/torch_internals.py"),
        (
            r"_current_level|_functorch_transforms|_torch_dispatch_stack|_graph_task|\._forward_(pre_)?hooks",
            "lightning_edge/torch_internals.py",
        ),
        (r"_step_supports_amp_scaling", "callbacks/_training/plain_training.py"),
        (r"mod_tracker", "callbacks/_training/flop_counter.py"),
        (r"batch_to_device\"|_dataloader_next|run_training_batch", "callbacks/_training/profiler_actions.py"),
        (r"\._checkpoint_io", "recipes/_cli/plugins.py"),
        (r"\._max_depth", "recipes/_cli/summary.py"),
        (r"_logger_connector|_batches_that_stepped", "recipes/_cli/logged_metrics.py"),
        (r"_subcommand_parsers|_subcommand_method_arguments", "recipes/_cli/lightning_cli_internals.py"),
        (r"_parse_ckpt_path|_set_seed|config_dump\b", "recipes/_cli/lightning_cli_internals.py"),
        (r"\._typehint|\"_typehint|\._actions|subcommand_parser\"", "recipes/_cli/jsonargparse_internals.py"),
        (r"Parser key|Given value", "recipes/_cli/jsonargparse_internals.py"),
        (r"_wandb_init|logger\._offline|\._settings", "recipes/_cli/wandb_internals.py"),
        (
            r"_given_hyperparameters|_should_check_val_fx|_log_hyperparams",
            "lightning_edge/methods/lightning_internals.py",
        ),
        (r"\"_class_path", "lightning_edge/model_description.py"),
    ],
)
def test_a_private_interface_stands_in_one_file(private, home):
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    places = {str(path.relative_to(ROOT)) for path in files if re.search(private, path.read_text(encoding="utf-8"))}
    assert places == {home}, f"expected {private} in {home} only, got {sorted(places)}"
