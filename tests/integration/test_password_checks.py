"""Checks of passwords: what is right, and that an unknown user takes as long as a wrong password."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.web.users import Busy, hash_of, is_right

PASSWORD = "correct horse battery"


def test_only_the_password_itself_is_right() -> None:
    password_hash = hash_of(PASSWORD)
    assert is_right(password_hash, PASSWORD)
    assert not is_right(password_hash, PASSWORD + " ")
    assert not is_right(password_hash, "")
    assert not is_right(None, PASSWORD)
    assert hash_of(PASSWORD) != password_hash


@pytest.mark.parametrize("unreadable", ["plain", "unknown:1$salt$hash", "scrypt:a:b:c$salt$hash", "scrypt$salt"])
def test_an_unreadable_hash_opens_nothing(unreadable: str) -> None:
    assert not is_right(unreadable, PASSWORD)


def test_an_unknown_user_takes_as_long() -> None:
    password_hash = hash_of(PASSWORD)

    def seconds(of: str | None) -> float:
        began = time.process_time()
        is_right(of, "a wrong password")
        return time.process_time() - began

    known, unknown = min(seconds(password_hash) for _ in range(3)), min(seconds(None) for _ in range(3))
    assert 0.5 < unknown / known < 2


@pytest.mark.slow
def test_who_finds_no_place_is_asked_to_come_again() -> None:
    password_hash, answers = hash_of(PASSWORD), list[object]()
    lock = threading.Lock()

    def check(_: int) -> None:
        try:
            answer: object = is_right(password_hash, PASSWORD)
        except Busy as error:
            answer = error
        with lock:
            answers.append(answer)

    with ThreadPoolExecutor(60) as pool:
        list(pool.map(check, range(120)))
    assert all(answer is True or isinstance(answer, Busy) for answer in answers)
    assert True in answers
