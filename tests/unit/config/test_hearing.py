"""When a worker is deaf, and when it only has nothing to hear."""

from config.hearing import DEAF_AFTER_S, DEAF_AFTER_WORK_S, Hearing


def test_a_worker_without_messages_is_never_deaf() -> None:
    hearing = Hearing(heard_at=0)
    assert not hearing.is_deaf(waiting=False, busy=False, at=10_000)


def test_cel_05_messages_that_wait_while_none_is_heard_make_an_idle_worker_deaf() -> None:
    hearing = Hearing(heard_at=0)
    assert not hearing.is_deaf(waiting=True, busy=False, at=1000)
    assert not hearing.is_deaf(waiting=True, busy=False, at=1000 + DEAF_AFTER_S - 1)
    assert hearing.is_deaf(waiting=True, busy=False, at=1000 + DEAF_AFTER_S)


def test_whoever_hears_something_is_not_deaf() -> None:
    hearing = Hearing(heard_at=0)
    hearing.is_deaf(waiting=True, busy=False, at=1000)
    hearing.heard(at=1015)
    assert not hearing.is_deaf(waiting=True, busy=False, at=1000 + DEAF_AFTER_S)


def test_whoever_works_may_let_messages_wait_for_as_long_as_a_task_may_take() -> None:
    hearing = Hearing(heard_at=0)
    hearing.is_deaf(waiting=True, busy=True, at=1000)
    assert not hearing.is_deaf(waiting=True, busy=True, at=1000 + DEAF_AFTER_WORK_S - 1)
    assert hearing.is_deaf(waiting=True, busy=True, at=1000 + DEAF_AFTER_WORK_S)


def test_a_queue_that_was_empty_in_between_begins_anew() -> None:
    hearing = Hearing(heard_at=0)
    hearing.is_deaf(waiting=True, busy=False, at=1000)
    hearing.is_deaf(waiting=False, busy=False, at=1010)
    assert not hearing.is_deaf(waiting=True, busy=False, at=1000 + DEAF_AFTER_S)
