import inspect
import re

from callbacks import adaptation
from lightning_edge import shallow
from recipes import domain_adaptation
from recipes.domain_adaptation.taxonomy import KINDS

NO_METHODS = {
    adaptation.AdaptationLoss,
    adaptation.FeaturePicture,
    adaptation.Pair,
    adaptation.TargetFreeScores,
    adaptation.TranslationPicture,
}


def public_classes(package):
    return {value for name, value in vars(package).items() if inspect.isclass(value) and not name.startswith("_")}


def test_each_method_is_listed_once():
    listed = [method for kind in KINDS for method in kind.methods]
    assert len(listed) == len(set(listed))
    deep, flat = public_classes(adaptation), public_classes(shallow)
    assert len(deep) > 20
    assert len(flat) >= 10
    assert {method for method in listed if method.__module__.startswith("callbacks.adaptation")} == deep - NO_METHODS
    assert {method for method in listed if method.__module__.startswith("lightning_edge")} == flat


def test_the_survey_has_six_classes():
    assert [kind.name for kind in KINDS][-1] == "later than the survey"
    assert len(KINDS) == 7


def test_the_command_prints_each_method_with_its_sentence_in_80_columns_and_without_markup(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    domain_adaptation.main(["taxonomy"])
    out = capsys.readouterr().out
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines())
    assert not re.search(r"`|:class:|:func:|\[/?bold\]|\[/?italic\]", out)
    text = " ".join(out.split())
    for kind in KINDS:
        assert kind.name in out
        for method in kind.methods:
            assert re.search(rf"^ +{method.__name__}  ", out, re.M), method
            words = " ".join(inspect.getdoc(method).partition("\n\n")[0].replace("``", "").split()[:3])
            assert words in text, method
