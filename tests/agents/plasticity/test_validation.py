"""Refusals of impossible arguments."""

import pytest

from agents.plasticity.validation import check


def test_what_is_right_passes_and_what_is_wrong_is_named() -> None:
    check("rate", 0.5, True, "a share")
    with pytest.raises(ValueError, match=r"^rate is 1\.5; give a share between 0 and 1$"):
        check("rate", 1.5, False, "a share between 0 and 1")


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers(value: bool) -> None:
    with pytest.raises(ValueError, match=f"rate is {value}; give a share"):
        check("rate", value, 0 <= value <= 1, "a share")
