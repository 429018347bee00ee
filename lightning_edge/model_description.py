"""Which classes the hyper-parameters of a checkpoint may name, since a checkpoint may come from an untrusted source.

Lightning's command line saves in each checkpoint how to create its model, as names of classes and their arguments.
Creating the model again imports these names. So names are limited to libraries that only define nets and optimizers,
and no argument may download weights.
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
"""Packages whose classes every checkpoint may name."""
_BUILTINS = "torch._C"
"""Module in which functions such as ``torch.nn.functional.gelu`` are defined."""
CLASS_KEY = "_class_path"
"""Hyper-parameter in which Lightning's command line saves the class of the model."""
INSTANTIATOR_KEY = "_instantiator"
"""Hyper-parameter in which Lightning's command line saves the function that creates the model."""
_CLASS_KEYS = ("class_path", CLASS_KEY)
_FETCHES = re.compile(r"hf[-_]hub:|local-dir:|[\w+.-]+://", re.IGNORECASE)  # timm ignores case too
_BLANKS = re.compile(r"[\0- ]+")
"""Characters that URL parsers ignore."""
_FETCHING_ARGUMENTS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"}
_MAY_BE_YAML = re.compile(r"[{\[:\n]")
_LARGEST_CONFIGURATION = 1_000_000
"""Size in bytes up to which a file is checked as a configuration."""


def check_description(
    description: Mapping[str, Any], source: Path | str, trusted_modules: Collection[str] = ()
) -> None:
    """Check that creating the model that a checkpoint describes runs no untrusted code and downloads nothing.

    Args:
        description: Names of classes and their arguments, nested to any depth.
        source: The checkpoint. Errors mention it.
        trusted_modules: Modules and packages that the checkpoint may name in addition to :data:`TRUSTED_MODULES`.

    Raises:
        ValueError: The description names a class or function of an untrusted module, or would download weights.
    """
    for name, value in named_values(description):
        if (name in _FETCHING_ARGUMENTS and value) or (isinstance(value, str) and _fetches(value)):
            raise ValueError(f"{source} describes a model that downloads weights, by {name}={value!r}")
        is_class = name in _CLASS_KEYS
        if (
            isinstance(value, str)
            and (is_class or _can_be_imported(value))
            and not (_is_within(value, trusted_modules) or _is_trusted(value))
        ):
            raise ValueError(
                f"{source} describes a model with {'the class ' if is_class else f'{name}='}{value}, which is not from "
                f"{', '.join(TRUSTED_MODULES[:-1])} or {TRUSTED_MODULES[-1]}. If you trust it, "
                f'pass trusted_modules=["{value.rpartition(".")[0]}"] to load_from_checkpoint. On the command line, '
                "name the model by --model or by the configuration of its run, such as "
                "-c runs/NAME/version_0/config.yaml."
            )


def named_values(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield all values at any depth with their nearest key; strings that a parser may read as YAML are parsed too."""
    waiting, seen = [("", content)], set()  # not recursive, because values may be nested deeply or contain themselves
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
    """Value as which jsonargparse may read a string: it parses the string as YAML, or reads the file of that name."""
    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
        if _MAY_BE_YAML.search(text):
            return yaml.safe_load(text)
        path = Path(text)
        if path.is_file() and path.stat().st_size <= _LARGEST_CONFIGURATION:
            return yaml.safe_load(path.read_text(encoding="utf-8"))
    return None


def _can_be_imported(name: str) -> bool:
    """Whether a string names an object in an existing package; nothing is imported to check this."""
    package, *parts = name.split(".")
    if not parts or not all(part.isidentifier() for part in (package, *parts)):
        return False
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(package) is not None
    return False


def _is_trusted(name: str) -> bool:
    """Whether a trusted package defines an object, and does not just import it: ``torch.optim.optimizer.functools``."""
    if not _is_within(name, TRUSTED_MODULES):
        return False
    target = _resolve(name)
    return target is None or _is_within(f"{getattr(target, '__module__', None)}.", (*TRUSTED_MODULES, _BUILTINS))


def _is_within(name: str, modules: Collection[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _resolve(name: str) -> Any:
    """Object of a name in a trusted module; ``None`` if it does not exist, which the parser will report later."""
    module, _, attribute = name.rpartition(".")
    with suppress(ImportError, AttributeError, ValueError):
        return getattr(importlib.import_module(module), attribute)
    outer, _, inner = module.rpartition(".")
    with suppress(ImportError, AttributeError, ValueError):
        return getattr(getattr(importlib.import_module(outer), inner), attribute)
    return None
