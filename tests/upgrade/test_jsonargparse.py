"""What `recipes/_cli/jsonargparse_internals.py` reads in jsonargparse's errors, on wrong arguments of a real parser."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from recipes._cli import jsonargparse_internals as internals
from recipes._cli.run_errors import constructor_error

ADAPT = "adapt recipes/_cli/jsonargparse_internals.py"


class Engine:
    def __init__(self, power: int = 1, size: tuple[int, int] = (1, 1)) -> None:
        if power < 0:
            raise ValueError(f"expected power of at least 0, got {power}")


class Diesel(Engine):
    def __init__(self, fuel: str, power: int = 1) -> None:
        super().__init__(power)


class Turbo(Engine):
    def __init__(self, cylinders: int, pressure: float = 1.0) -> None: ...


class Trailer(ABC):
    @abstractmethod
    def load(self) -> None: ...


class Car:
    def __init__(
        self,
        engine: Engine,
        seats: int = 4,
        color: Literal["red", "blue"] = "red",
        make: Callable[[int], Turbo] = Turbo,
        years: Iterable[int] = (),
        trailer: Trailer | None = None,
    ) -> None: ...


ENGINE, DIESEL, TURBO, CAR = (f"{__name__}.{kind.__name__}" for kind in (Engine, Diesel, Turbo, Car))


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Car, "car")
    parser.add_argument("--wheels", type=int, default=4)
    parser.add_argument("--config", action="config")
    return parser


def parse(*words: str) -> str:
    """The message of the error about these words."""
    with pytest.raises(ArgumentError) as caught:
        make_parser().parse_args(list(words))
    return str(caught.value)


def refused(*words: str) -> tuple[internals.Refused, str]:
    message = parse(*words)
    found = internals.refused_value(message, internals.types_of_arguments(make_parser()))
    assert found is not None, f"the key of a refused value is not found: {ADAPT}\n{message}"
    return found, f"another text about a refused value: {ADAPT}\n{message}"


def test_the_types_of_all_arguments_are_known():
    types = internals.types_of_arguments(make_parser())
    assert types["wheels"] is int, f"parser._actions or action._typehint has changed: {ADAPT}"
    assert types["car"] == Car | None, f"parser._actions or action._typehint has changed: {ADAPT}"


def test_an_error_knows_the_parser_of_its_command():
    found = []

    class Noting(ArgumentParser):
        def error(self, message, ex=None):
            found.append((internals.parser_of_error(ex, self), internals.unknown_argument(message)))
            raise SystemExit(2)

    parser, drive = Noting(), Noting()
    drive.add_argument("--speed", type=int)
    parser.add_subcommands().add_subcommand("drive", drive)
    with pytest.raises(SystemExit):
        parser.parse_object({"subcommand": "drive", "drive": {"sped": 3}})
    assert found == [(drive, "sped")], f"an error about a command no longer has subcommand_parser: {ADAPT}"


@pytest.mark.parametrize(("word", "name"), [("--whels=3", "whels"), ("--motor.power=3", "motor.power")])
def test_an_unknown_argument_is_named(word, name):
    message = parse(f"--car={CAR}", f"--car.engine={ENGINE}", word)
    assert internals.unknown_argument(message) == name, f"{ADAPT}\n{message}"


def test_an_unknown_argument_of_a_class_is_named_with_the_class():
    message = parse(f"--car={CAR}", f"--car.engine={ENGINE}", "--car.sets=3")
    assert internals.unknown_option(message) == (CAR, "sets"), f"{ADAPT}\n{message}"
    message = parse(f"--car={CAR}", f"--car.engine={ENGINE}", "--car.engine.pwer=3")
    assert internals.unknown_option(message) == (ENGINE, "pwer"), f"{ADAPT}\n{message}"


def test_a_missing_argument_is_named_with_the_class():
    message = parse(f"--car={CAR}", f"--car.engine={DIESEL}")
    assert internals.missing_arguments(message) == (DIESEL, "fuel"), f"{ADAPT}\n{message}"


def test_a_missing_argument_of_the_command_is_named():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--budget", required=True)
    with pytest.raises(ArgumentError) as caught:
        parser.parse_args([])
    assert internals.missing_arguments(str(caught.value)) == ("", "budget"), f"{ADAPT}\n{caught.value}"


def test_a_missing_module_and_a_missing_class_are_named():
    message = parse("--car=no_such_module.Car")
    assert internals.missing_module(message) == "no_such_module", f"{ADAPT}\n{message}"
    message = parse(f"--car={__name__}.Boat")
    assert internals.missing_class(message) == (__name__, "Boat"), f"{ADAPT}\n{message}"


def test_a_name_that_is_no_class_is_named():
    found, changed = refused("--car=Boat")
    assert (found.key, found.unknown_class) == ("car", "Boat"), changed


@pytest.mark.parametrize(
    ("words", "key", "value", "kinds"),
    [
        (["--wheels=three"], "wheels", "three", ["int"]),
        ([f"--car={CAR}", "--car.seats=four"], "car.seats", "four", ["int"]),
        ([f"--car={CAR}", f"--car.engine={ENGINE}", "--car.engine.power=x"], "car.engine.power", "x", ["int"]),
        ([f"--car={CAR}", "--car.color=green"], "car.color", "green", ["one of 'red', 'blue'"]),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_the_expected_types(words, key, value, kinds):
    found, changed = refused(*words)
    assert (found.key, found.value, found.kinds) == (key, value, kinds), changed
    assert found.is_reached, changed


def test_a_value_of_a_class_that_a_function_makes_has_the_type_of_its_parameter():
    found, changed = refused(f"--car={CAR}", f"--car.make={TURBO}", "--car.make.pressure=x")
    assert (found.key, found.value, found.kinds, found.type) == ("car.make.pressure", "x", ["float"], float), changed


def test_an_argument_before_its_class_is_not_reached():
    found, changed = refused(f"--car={CAR}", "--car.trailer.axles=2")
    assert found.key == "car.trailer.axles", changed
    assert not found.is_reached, changed


@pytest.mark.parametrize(
    ("word", "value"), [("--car.engine.size=3,4", "3,4"), ("--car.engine.size=[3,4,5]", "[3, 4, 5]")]
)
def test_a_value_that_is_no_list_is_named(word, value):
    found, changed = refused(f"--car={CAR}", f"--car.engine={ENGINE}", word)
    assert (found.key, found.value, found.expects_list) == ("car.engine.size", value, True), changed


def test_an_element_of_a_list_is_named():
    found, changed = refused(f"--car={CAR}", "--car.years=[1990,x]")
    assert (found.key, found.value) == ("car.years", "x"), changed


def test_a_value_in_a_configuration_has_the_names_of_all_keys_around_it(tmp_path: Path):
    (tmp_path / "car.yaml").write_text(f"car: {{class_path: {CAR}, init_args: {{seats: four}}}}")
    found, changed = refused(f"--config={tmp_path / 'car.yaml'}")
    assert (found.key.replace("init_args.", ""), found.value, found.kinds) == ("car.seats", "four", ["int"]), changed


def test_an_error_of_a_constructor_is_found_behind_those_of_the_parser():
    parser = make_parser()
    config = parser.parse_args([f"--car={CAR}", f"--car.engine={ENGINE}", "--car.engine.power=-1"])
    with pytest.raises(ValueError, match="power") as caught:
        parser.instantiate(config)
    found = constructor_error(caught.value)
    changed = f"jsonargparse reports errors of constructors in another way: adapt recipes/_cli/run_errors.py, {found!r}"
    assert str(found) == "expected power of at least 0, got -1", changed
