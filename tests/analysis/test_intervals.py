import pytest

from lightning_edge.analysis.intervals import mean_with_interval


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), ""),
        ((48.75,), "48.8"),
        ((1.0, 3.0), "2.0±12.7"),  # Student's t of one degree of freedom is 12.706, the standard error 1
        ((1.0, 2.0, 3.0), "2.0±2.5"),  # 4.303 / sqrt(3)
    ],
)
def test_the_interval_is_students(values, text):
    assert mean_with_interval(values) == text
