"""Options that a command passes on to the trainings that it starts."""

import pytest

from recipes._cli.fit_arguments import split_arguments

OWN = ("folder", "num_seeds", "variants")


@pytest.mark.parametrize(
    ("words", "own", "passed_on"),
    [
        (["--num_seeds=2", "--data.root=there"], ["--num_seeds=2"], ["--data.root=there"]),
        (["-c", "digits.yaml", "--folder", "here"], ["--folder", "here"], ["-c", "digits.yaml"]),
        (["--data.root", "there", "--num_seeds", "2"], ["--num_seeds", "2"], ["--data.root", "there"]),
        (["--data.low", "-0.5", "--variants=[a,b]"], ["--variants=[a,b]"], ["--data.low", "-0.5"]),
        (["--variants+=a", "--trainer.callbacks+=Timer"], ["--variants+=a"], ["--trainer.callbacks+=Timer"]),
        (["--help", "--data.root=there"], ["--help"], ["--data.root=there"]),
        (["--folders=here"], [], ["--folders=here"]),
    ],
)
def test_a_word_goes_where_its_option_does(words, own, passed_on):
    assert split_arguments(words, OWN) == (own, passed_on)


def test_order_is_kept():
    words = ["--trainer.callbacks+=WarmStart", "--folder=x", "--trainer.callbacks.checkpoint=y"]
    assert split_arguments(words, OWN)[1] == ["--trainer.callbacks+=WarmStart", "--trainer.callbacks.checkpoint=y"]
