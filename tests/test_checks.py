import math
import re

import pytest

from lightning_edge.checks import check_at_least, check_pair, check_share, check_whole_at_least


def test_a_number_below_its_limit_is_named() -> None:
    check_at_least(1, window=1, reduction=1.5)
    with pytest.raises(ValueError, match=r"^expected reduction of at least 1, got 0.5$"):
        check_at_least(1, window=1, reduction=0.5)
    with pytest.raises(ValueError, match="expected pan of at least 0, got nan"):
        check_at_least(0, pan=math.nan)


def test_only_whole_numbers_count() -> None:
    check_whole_at_least(1, batch_size=1, num_workers=2)
    for value in (2.0, "2", None, math.nan, True):
        with pytest.raises(ValueError, match=f"^expected a whole number as num_workers, got {value!r}$"):
            check_whole_at_least(1, batch_size=1, num_workers=value)
    with pytest.raises(ValueError, match=r"^expected num_workers of at least 1, got 0$"):
        check_whole_at_least(1, batch_size=1, num_workers=0)


def test_a_share_is_within_0_and_1() -> None:
    check_share(first=0, second=1.0)
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=rf"^expected second within \[0, 1\], got {value}$"):
            check_share(first=0.5, second=value)


@pytest.mark.parametrize(
    "value",
    [3, None, "12", ("a", "b"), (1,), [1, 2, 3], {1: 1, 2: 2}, (1, math.nan), (1.5, 2), (1, 0), (True, 2)],
)
def test_a_pair_has_two_whole_numbers(value: object) -> None:
    check_pair(size=(1, 2))
    check_pair(size=[1, 2])
    message = f"expected two whole numbers of at least 1 as size, got {value!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_pair(size=value)


def test_an_argument_may_have_any_name() -> None:
    for check in (check_at_least, check_whole_at_least):
        with pytest.raises(ValueError, match=r"^expected least of at least 2, got 1$"):
            check(2, least=1)
