"""Checks of passwords: what is right, and that an unknown user takes as much work as a wrong password."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


def test_an_unknown_user_takes_as_much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    password_hash, made, scrypt = hash_of(PASSWORD), list[dict[str, Any]](), hashlib.scrypt

    def note(password: bytes, *, salt: bytes, **work: Any) -> bytes:
        made.append(work)
        return scrypt(password, salt=salt, **work)

    monkeypatch.setattr(hashlib, "scrypt", note)
    assert not is_right(password_hash, "a wrong password")
    assert not is_right(None, "a wrong password")
    known, unknown = made
    assert known == unknown


@pytest.mark.slow
def test_who_finds_no_place_is_asked_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    password_hash, begun, may_end, scrypt = hash_of(PASSWORD), threading.Semaphore(0), threading.Event(), hashlib.scrypt

    def wait(*given: bytes, **work: Any) -> bytes:
        begun.release()
        assert may_end.wait(60)
        return scrypt(*given, **work)

    monkeypatch.setattr(hashlib, "scrypt", wait)
    with ThreadPoolExecutor(2) as pool:
        checks = [pool.submit(is_right, password_hash, PASSWORD) for _ in range(2)]
        for _ in checks:
            assert begun.acquire(timeout=60)
        with pytest.raises(Busy):
            is_right(password_hash, PASSWORD)
        may_end.set()
        assert [one.result() for one in checks] == [True, True]
    assert is_right(password_hash, PASSWORD)
