"""A file system of a few megabytes in memory, to be filled up. Linux only, and for root.

A run that calls `use_own_mounts` first leaves no mount, however it ends: its mounts are its own.
"""

import ctypes
import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CHUNK = b"\0" * 65536
_BALLAST = "somebody-elses-file"


def use_own_mounts() -> None:
    """From now on the mounts of this process, and of all that it starts, are its own. Without root nothing happens.

    To be called before any thread is started.
    """
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) == 0:
        _run("mount", "--make-rprivate", "/")


@functools.cache
def may_mount() -> bool:
    """Whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        return _run("mount", "-t", "tmpfs", "none", folder) and _run("umount", folder)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Move a folder with all that it holds to a small file system at the same path; move it back at the end.

    No process may have its files open at either moment.
    """
    beside = folder.with_name(f"{folder.name}.beside")
    owner = folder.stat()
    folder.rename(beside)
    folder.mkdir(mode=0o700)
    os.chown(folder, owner.st_uid, owner.st_gid)
    options = f"size={megabytes}m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    assert _run("mount", "-t", "tmpfs", "-o", options, "none", str(folder)), f"nothing can be mounted at {folder}"
    try:
        _copy(beside, folder)
        yield
        _copy(folder, beside)
    finally:
        _run("umount", "--lazy", str(folder))
        folder.rmdir()
        beside.rename(folder)


@contextmanager
def filled_up(folder: Path) -> Iterator[None]:
    """Leave no byte of a small file system free, for as long as the context lasts."""
    ballast = folder / _BALLAST
    with ballast.open("wb", buffering=0) as file:
        for size in (len(_CHUNK), 4096, 1):
            _write_until_full(file.fileno(), _CHUNK[:size])
    try:
        yield
    finally:
        ballast.unlink()


def _write_until_full(file: int, data: bytes) -> None:
    try:
        while os.write(file, data):
            pass
    except OSError:
        return


def _copy(source: Path, target: Path) -> None:
    # Not sparse: a block that is there already is written even where no new one can be had.
    assert _run("cp", "--archive", "--sparse=never", f"{source}/.", str(target)), f"{source} cannot be copied"


def _run(*command: str) -> bool:
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
