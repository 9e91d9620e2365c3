"""How many records of a dataset may be rejected."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.core.errors import UsageError
from loader.core.limits import RejectLimit


@pytest.mark.parametrize(
    ("text", "limit", "records"),
    [
        ("0", RejectLimit(0), 0),
        ("10", RejectLimit(10), 10),
        ("0%", RejectLimit(0, percent=True), float("inf")),
        ("5%", RejectLimit(5, percent=True), float("inf")),
        ("0.5%", RejectLimit(0.5, percent=True), float("inf")),
    ],
)
def test_a_limit_is_a_number_or_a_share(text: str, limit: RejectLimit, records: float) -> None:
    """`10` is so many records, `0.5%` a share; written as it is read; only of a number is the excess known early."""
    assert (RejectLimit.parse(text), str(limit), limit.records) == (limit, text, records)


@pytest.mark.parametrize(
    "text", ["", "%", "-1", "+1", "ten", "1.5", "1 %", " 1", ".5%", "5.%", "1e3", "1_0", "\u0663", "nan%", "1" * 30]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    """Anything else is a usage error that shows what was given."""
    with pytest.raises(UsageError, match="max-rejects") as error:
        RejectLimit.parse(text)
    assert repr(text) in str(error.value)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_number_is_exceeded_by_one_more(number: int, rejected: int, more: int) -> None:
    """As many rejects as allowed are within the limit, one more is not, however many were read."""
    assert RejectLimit(number).exceeded(rejected, rejected + more) == (rejected > number)


@given(st.integers(0, 10_000), st.integers(0, 10**6), st.integers(0, 10**6))
@example(57, 57, 9_943)
@example(29, 29, 9_971)
def test_a_share_is_exceeded_only_beyond_it(hundredths: int, rejected: int, more: int) -> None:
    """Exactly the share allowed is within the limit, also where binary fractions cannot say it."""
    limit = RejectLimit.parse(f"{hundredths / 100:.2f}%")
    read = rejected + more
    assert limit.exceeded(rejected, read) == (rejected > Fraction(hundredths, 10_000) * read)


@given(st.integers(1, 9_999), st.integers(1, 1_000))
def test_exactly_the_share_is_allowed(hundredths: int, times: int) -> None:
    """Of so many read that the share is a whole number, that number of rejects is allowed and one more is not."""
    limit = RejectLimit.parse(f"{hundredths / 100:.2f}%")
    rejected, read = hundredths * times, 10_000 * times
    assert (limit.exceeded(rejected, read), limit.exceeded(rejected + 1, read)) == (False, True)
