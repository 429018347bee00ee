"""Options that a command does not have itself and passes on to the trainings that it starts.

``python -m recipes.ddn compare -c digits.yaml --num_seeds=5 --data.root=digits`` is ``compare`` with ``num_seeds``, and
all its trainings are ``fit -c digits.yaml --data.root=digits``.
"""

from collections.abc import Collection, Sequence

PARAMETER = "fit_arguments"
"""Parameter of a command by which it asks for them, a tuple of strings."""

_HELP = ("-h", "--help")


def split_arguments(words: Sequence[str], own_options: Collection[str]) -> tuple[list[str], list[str]]:
    """The words that belong to a command, and those that it passes on.

    Args:
        words: What follows the name of the command.
        own_options: Names of the command's options, without dashes.
    """
    own: list[str] = []
    passed_on: list[str] = []
    target = own
    for word in words:
        is_option = word.startswith("--") or (word.startswith("-") and word[1:2].isalpha())
        if is_option:
            name = word.partition("=")[0].lstrip("-").rstrip("+").partition(".")[0]
            target = own if name in own_options or word in _HELP else passed_on
        target.append(word)
    return own, passed_on
