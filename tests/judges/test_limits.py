"""Waiting before asking again."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.judges.limits import RetryPolicy, retry_after_seconds

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_the_wait_doubles_with_each_failure_up_to_a_cap():
    policy = RetryPolicy(first_delay=0.5, longest_delay=4.0)
    longest = [policy.delay(failures, 1.0) for failures in range(1, 7)]
    assert longest == [0.5, 1, 2, 4, 4, 4]


@given(failures=st.integers(1, 10_000), uniform=st.floats(0, 1, exclude_max=True))
def test_half_of_the_wait_is_jitter(failures, uniform):
    policy = RetryPolicy()
    longest = policy.delay(failures, 1.0)
    assert longest / 2 <= policy.delay(failures, uniform) <= longest <= policy.longest_delay


@given(asked=st.floats(0.001, 1e9), uniform=st.floats(0, 1, exclude_max=True))
def test_a_server_s_wish_is_kept_within_the_cap(asked, uniform):
    policy = RetryPolicy(longest_retry_after=120)
    wait = policy.delay(3, uniform, asked)
    assert min(asked, 120) <= wait <= 1.1 * min(asked, 120)


def test_retry_after_zero_leaves_the_back_off_as_it_is():
    policy = RetryPolicy()
    assert policy.delay(2, 0.3, 0.0) == policy.delay(2, 0.3)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("Wed, 01 Jul 2026 12:00:30 GMT", 30.0),
        ("Wed, 01 Jul 2026 12:00:30 -0000", 30.0),
        ("Wed, 01 Jul 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after_seconds(header, NOW.timestamp()) == seconds


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
        lambda d: d.replace(microsecond=0, tzinfo=UTC)
    )
)
def test_any_http_date_is_understood(date):
    seconds = max(0.0, (date - NOW).total_seconds())
    assert retry_after_seconds(format_datetime(date, usegmt=True), NOW.timestamp()) == seconds


@given(st.text(max_size=40))
def test_no_header_is_fatal(header):
    seconds = retry_after_seconds(header, NOW.timestamp())
    assert seconds is None or seconds >= 0
