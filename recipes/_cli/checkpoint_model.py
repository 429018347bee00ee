"""The model that a checkpoint describes, for commands that work on a finished training.

A checkpoint that a recipe wrote contains the class of its model and the arguments of that class. They are read like a
configuration that comes before all others, so that the command line can still change them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import yaml

from lightning_edge.checkpoints import read_checkpoint
from lightning_edge.model_description import CLASS_KEY, INSTANTIATOR_KEY, check_description, named_values
from lightning_edge.renamed import with_new_arguments
from recipes._cli.config_files import OPTIONS, is_inline, options_of, read_config

_WORDS = ("best", "last", "hpc")
"""Values of ``--ckpt_path`` that are keywords of Lightning, not files."""


def with_model_of_checkpoint(args: Sequence[str], command: str, defaults: Path) -> list[str]:
    """Insert the model of ``--ckpt_path`` after the command as a configuration.

    Without a checkpoint that describes its model, the command line stays unchanged.

    Args:
        args: The command line.
        command: The command, one of the words in ``args``.
        defaults: The recipe's own configuration.

    Raises:
        ValueError: The checkpoint names a class from a module that neither belongs to this library nor is named in the
            configuration, or it has arguments that would download weights.
    """
    checkpoint = _checkpoint_in(args)
    model = _model_of(checkpoint)
    if model is None:
        return list(args)
    check_description(model, str(checkpoint), {_module_of(name) for name in _configured_classes(args, defaults)})
    place = args.index(command) + 1
    return [*args[:place], "-c", json.dumps({"model": model}), *args[place:]]


def _module_of(name: str) -> str:
    return name.rpartition(".")[0]


def _checkpoint_in(args: Sequence[str]) -> Path | None:
    paths = [value for _, option, value in options_of(args) if option == "--ckpt_path"]
    return Path(paths[-1]) if paths and paths[-1] not in _WORDS else None


def _model_of(checkpoint: Path | None) -> dict[str, Any] | None:
    """Class and arguments of the model; ``None`` if the checkpoint was not written by a recipe."""
    content: Mapping[str, Any] = {}
    if checkpoint is not None and checkpoint.is_file():
        with suppress(ValueError, OSError, UnpicklingError):  # the run itself reports what is wrong with it
            content = read_checkpoint(checkpoint, "ckpt_path")
    arguments = dict(content.get("hyper_parameters", {}))
    arguments.pop(INSTANTIATOR_KEY, None)
    name = arguments.pop(CLASS_KEY, None)
    if name is None:
        return None
    return {"class_path": name, "init_args": with_new_arguments(name, arguments)}


def _configured_classes(args: Sequence[str], defaults: Path) -> Iterator[str]:
    """Classes that the recipe's configuration and the command line name."""
    contents: list[Mapping[str, Any]] = [yaml.safe_load(defaults.read_text(encoding="utf-8"))]
    for _, option, value in options_of(args):
        if option in OPTIONS:
            contents.append(yaml.safe_load(value) if is_inline(value) else read_config(Path(value)))
        elif option.startswith("--model") and "." in value:
            yield value
    for content in contents:
        yield from (value for name, value in named_values(content) if name == "class_path")
