"""When to ask, how much at once, and when again."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.judges.limits import AdaptiveLimit, Pace, Pacing, RetryPolicy, retry_after_seconds
from capo_data.records import Usage

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


@given(
    limit=st.floats(1, 10_000),
    arrivals=st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 100)), min_size=1, max_size=60),
)
def test_no_minute_holds_more_than_the_limit_and_the_one_that_straddles_its_end(limit, arrivals):
    pace, now, given_out = Pace(limit), 0.0, []
    for pause, cost in arrivals:
        now += pause
        given_out.append((now + pace.wait(cost, now), cost))
    times = [moment for moment, _ in given_out]
    assert times == sorted(times)
    for begin, _ in given_out:
        within = [cost for moment, cost in given_out if begin <= moment < begin + 59.999]
        assert sum(within[:-1]) <= limit * 1.001


def test_who_comes_slower_than_the_limit_does_not_wait():
    pace = Pace(60)
    assert [pace.wait(1, now) for now in (0.0, 1.0, 5.0)] == [0, 0, 0]
    assert [pace.wait(1, 5.0) for _ in range(3)] == [1, 2, 3]


def test_tokens_are_estimated_by_the_answers_so_far_and_put_right():
    pacing = Pacing(tokens_per_minute=6000)  # 100 a second
    body = {"messages": [{"content": "x" * 2800}]}
    assert pacing.tokens(body) == 2800 / 4 + 300
    assert pacing.wait(1000, 0.0) == 0
    pacing.correct(1000, Usage(1200, 0, 300, 1))
    assert pacing.tokens(body) == pytest.approx(1500)
    assert pacing.wait(1500, 0.0) == pytest.approx(15)  # what the first one took, not what was thought


def test_without_limits_nobody_waits_or_counts():
    pacing = Pacing()
    assert pacing.tokens({"messages": [{"content": "x" * 2800}]}) == 0
    assert [pacing.wait(0, 0.0) for _ in range(3)] == [0, 0, 0]


def served(limit: AdaptiveLimit, rounds: int, latency) -> list[int]:
    """The limit after each round of a server whose latency is a function of what is under way."""
    seen = []
    for _ in range(rounds):
        for _ in range(limit.now):
            limit.answered(latency(limit.now), needed=True)
        seen.append(limit.now)
    return seen


def test_while_latency_holds_the_limit_doubles_up_to_the_highest():
    """The first round only says what latency is."""
    assert served(AdaptiveLimit(128, 16), 6, lambda _: 1.0) == [16, 32, 64, 128, 128, 128]


def test_doubling_ends_with_the_round_in_which_latency_rose():
    seen = served(AdaptiveLimit(10_000, 16), 6, lambda under_way: 1.0 if under_way < 100 else 10.0)
    assert seen[:3] == [16, 32, 64]
    assert max(seen) <= 128


def test_it_stops_growing_where_more_at_once_only_waits_longer():
    """A server that works on 20 at a time: latency is in proportion to what is beyond."""
    seen = served(AdaptiveLimit(1000, 16), 60, lambda under_way: max(1.0, under_way / 20))
    assert 30 <= seen[-1] <= 80


def test_a_limit_that_nobody_reaches_does_not_grow():
    limit = AdaptiveLimit(128, 16)
    for _ in range(1000):
        limit.answered(1.0, needed=False)
    assert limit.now == 16


def test_a_protest_halves_it_once_for_all_that_was_sent_before():
    limit = AdaptiveLimit(64, 64)
    for _ in range(64):
        limit.protested(sent=1.0, now=2.0)
    assert limit.now == 32
    limit.protested(sent=3.0, now=4.0)
    assert limit.now == 16
    for moment in range(10):
        limit.protested(sent=5.0 + moment, now=5.0 + moment)
    assert limit.now == 1
    assert served(limit, 100, lambda _: 1.0)[-1] == 64
