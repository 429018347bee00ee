"""What the hyper-parameters of a checkpoint may ask for: they name classes, and a file may come from anywhere.

Lightning's command line keeps in each checkpoint how its model is made, in names of classes and their arguments.
Making that model again imports what is named, so names are limited to libraries that do nothing but make nets and
optimizers, and nothing may fetch weights.
"""

import importlib
import importlib.util
import re
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

TRUSTED_MODULES = ("lightning_edge", "callbacks", "timm", "torch.nn", "torch.optim")
"""Packages whose classes any checkpoint may name."""
_BUILTINS = "torch._C"
"""Where functions such as ``torch.nn.functional.gelu`` are defined."""
_CLASS_KEYS = ("class_path", "_class_path")
_FETCHES = re.compile(r"hf[-_]hub:|local-dir:|[\w+.-]+://", re.IGNORECASE)  # timm does not look at case either
_BLANKS = re.compile(r"[\0- ]+")
"""Which parsers of addresses pass over."""
_FETCHING_ARGUMENTS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"}
_MAY_BE_YAML = re.compile(r"[{\[:\n]")
_LARGEST_CONFIGURATION = 1_000_000
"""Bytes of a file that is looked at as a configuration."""


def check_description(
    description: Mapping[str, Any], source: Path | str, trusted_modules: Collection[str] = ()
) -> None:
    """Check that making a model as a checkpoint describes it runs no code of strangers and fetches nothing.

    Args:
        description: Names of classes and their arguments, however deep.
        source: The checkpoint, for errors.
        trusted_modules: Modules and packages that may be named beside :data:`TRUSTED_MODULES`.

    Raises:
        ValueError: A class or function of another module is named, or weights would be fetched.
    """
    for name, value in named_values(description):
        if (name in _FETCHING_ARGUMENTS and value) or (isinstance(value, str) and _fetches(value)):
            raise ValueError(f"{source} describes a model that fetches weights, by {name}={value!r}")
        is_class = name in _CLASS_KEYS
        if (
            isinstance(value, str)
            and (is_class or _can_be_imported(value))
            and not (_is_within(value, trusted_modules) or _is_trusted(value))
        ):
            raise ValueError(
                f"{source} describes a model with {'the class ' if is_class else f'{name}='}{value}, which is not of "
                f"{', '.join(TRUSTED_MODULES[:-1])} or {TRUSTED_MODULES[-1]}. If you trust it, "
                f'load_from_checkpoint takes trusted_modules=["{value.rpartition(".")[0]}"], and on the command line '
                "--model or the configuration of its run, such as -c runs/NAME/version_0/config.yaml, may name it"
            )


def named_values(content: Any) -> Iterator[tuple[str, Any]]:
    """All values by their nearest name, however deep; strings also as the YAML that a parser may take them for."""
    waiting, seen = [("", content)], set()  # no recursion: a file may nest without end, or hold itself
    while waiting:
        name, value = waiting.pop()
        yield name, value
        if isinstance(value, str):
            value = _as_configuration(value)
        if id(value) in seen:
            continue
        if isinstance(value, Mapping):
            waiting += [(str(key), item) for key, item in value.items()]
        elif isinstance(value, Sequence | Set) and not isinstance(value, str):
            waiting += [(name, item) for item in value]
        else:
            continue
        seen.add(id(value))


def _fetches(text: str) -> bool:
    return _FETCHES.match(_BLANKS.sub("", text)) is not None


def _as_configuration(text: str) -> Any:
    """What jsonargparse may read a string as: YAML, or the file of that name."""
    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
        if _MAY_BE_YAML.search(text):
            return yaml.safe_load(text)
        path = Path(text)
        if path.is_file() and path.stat().st_size <= _LARGEST_CONFIGURATION:
            return yaml.safe_load(path.read_text(encoding="utf-8"))
    return None


def _can_be_imported(name: str) -> bool:
    """Whether a string is the name of something in a module that exists; none is imported to find out."""
    package, *parts = name.split(".")
    if not parts or not all(part.isidentifier() for part in (package, *parts)):
        return False
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(package) is not None
    return False


def _is_trusted(name: str) -> bool:
    """Whether a trusted package defines a class, rather than imports it, as in ``torch.optim.optimizer.functools``."""
    if not _is_within(name, TRUSTED_MODULES):
        return False
    target = _resolve(name)
    return target is None or _is_within(f"{getattr(target, '__module__', None)}.", (*TRUSTED_MODULES, _BUILTINS))


def _is_within(name: str, modules: Collection[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _resolve(name: str) -> Any:
    """What a name of a trusted module stands for; ``None`` if there is no such thing, which the parser will say."""
    module, _, attribute = name.rpartition(".")
    with suppress(ImportError, AttributeError, ValueError):
        return getattr(importlib.import_module(module), attribute)
    outer, _, inner = module.rpartition(".")
    with suppress(ImportError, AttributeError, ValueError):
        return getattr(getattr(importlib.import_module(outer), inner), attribute)
    return None
