"""Options that a command passes on to the trainings that it starts, because it does not have them itself.

In ``python -m recipes.ddn compare -c digits.yaml --num_seeds=5 --data.root=digits`` the option ``num_seeds`` belongs to
``compare``, and each training is ``fit -c digits.yaml --data.root=digits``.
"""

from collections.abc import Collection, Sequence

PARAMETER = "fit_arguments"
"""Parameter through which a command receives these options, as a tuple of strings."""

_HELP = ("-h", "--help")


def split_arguments(words: Sequence[str], own_options: Collection[str]) -> tuple[list[str], list[str]]:
    """Separate the words that belong to a command from those that it passes on.

    Args:
        words: The words after the name of the command.
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
