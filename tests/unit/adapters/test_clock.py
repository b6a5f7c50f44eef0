"""The host's clocks."""

import subprocess
import sys
import time
from datetime import UTC, timedelta
from pathlib import Path

import pytest

import worker
from tests.support.namespaces import in_time_namespace
from worker.adapters.clock import HostClock


def test_now_is_utc_and_the_boot_clock_never_goes_back() -> None:
    clock = HostClock(boot_id="another host")
    assert (clock.now().tzinfo, clock.now().utcoffset(), clock.boot_id) == (UTC, timedelta(0), "another host")
    readings = [clock.boot() for _ in range(100)]
    assert readings == sorted(readings)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CLOCK_BOOTTIME")
def test_boot_clock_counts_suspend_on_linux() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    reading = HostClock().boot()
    assert before <= reading <= time.clock_gettime(time.CLOCK_BOOTTIME)


def said_by(program: str, *before: str) -> list[str]:
    """What another process prints of its clock `c`, started by the words before."""
    code = f"from worker.adapters.clock import HostClock; c = HostClock(); {program}"
    command = [*before, sys.executable, "-c", code]
    root = Path(worker.__file__).parents[1]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=root).stdout.split()


def test_boot_id_is_the_same_in_every_process_of_one_boot() -> None:
    (other,) = said_by("print(c.boot_id)")
    assert HostClock().boot_id == other
    assert 1 <= len(other) <= 64


BOOT_ID = "6d2f0c9e-34a1-4c1f-9a53-0d9a7c1be2f0"
INITIAL = "time:[4026531834]"
OFFSETS = "monotonic           0         0\nboottime         1000         0\n"


def proc(folder: Path, *, boot_id: str | None = BOOT_ID, namespace: str | None = INITIAL, offsets: str = "") -> Path:
    """What a kernel says about itself, in a folder of the test's own."""
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "self/ns").mkdir(parents=True)
    if boot_id is not None:
        (folder / "sys/kernel/random/boot_id").write_text(f"{boot_id}\n")
    if namespace is not None:
        (folder / "self/ns/time").symlink_to(namespace)
    if offsets:
        (folder / "self/timens_offsets").write_text(offsets)
    return folder


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")


@on_linux
@pytest.mark.parametrize("namespace", [INITIAL, None], ids=["initial namespace", "kernel without namespaces"])
def test_a_plain_hosts_identity_is_the_boot_id_alone(tmp_path: Path, namespace: str | None) -> None:
    # Offsets are those of children's namespace: here they say nothing of this process's own clock.
    assert HostClock(proc=proc(tmp_path, namespace=namespace, offsets=OFFSETS)).boot_id == BOOT_ID


@on_linux
def test_each_time_namespace_and_offset_has_an_identity_of_its_own_within_the_boot(tmp_path: Path) -> None:
    kernels = {
        "one": ("time:[4026532177]", OFFSETS),
        "its number": ("time:[4026532178]", OFFSETS),
        "its offset": ("time:[4026532177]", OFFSETS.replace("1000", "1001")),
        "its nanoseconds": ("time:[4026532177]", "boottime 1000 5\n"),
    }
    identities = [
        HostClock(proc=proc(tmp_path / name, namespace=namespace, offsets=offsets)).boot_id
        for name, (namespace, offsets) in kernels.items()
    ]
    assert len(set(identities)) == len(kernels)
    assert all(identity.startswith(BOOT_ID) and len(identity) <= 64 for identity in identities)
    # Two processes of one namespace agree.
    again = HostClock(proc=proc(tmp_path / "again", namespace="time:[4026532177]", offsets=OFFSETS)).boot_id
    assert again == identities[0]


@on_linux
@pytest.mark.parametrize(
    "kernel",
    [
        {"boot_id": None},
        {"boot_id": ""},
        {"namespace": "time:[4026532177]"},
        {"namespace": "time:[4026532177]", "offsets": "monotonic 0 0\n"},
    ],
    ids=["no boot id", "empty boot id", "no offsets", "no offset of this clock"],
)
def test_where_the_kernel_does_not_say_the_process_has_an_identity_of_its_own(
    tmp_path: Path, kernel: dict[str, str | None]
) -> None:
    folder = proc(tmp_path, **kernel)  # type: ignore[arg-type]  # mypy takes the values for those of every parameter
    identities = {HostClock(proc=folder).boot_id for _ in range(2)}
    (tmp_path / "self/ns/time").unlink(missing_ok=True)
    (tmp_path / "self/ns/time").write_text("no link, which cannot be read")
    identities.add(HostClock(proc=folder).boot_id)
    assert len(identities) == 3
    assert all(identity.startswith("process-") for identity in identities)


@on_linux
def test_a_real_time_namespace_has_a_boot_clock_and_an_identity_of_its_own() -> None:
    identity, boot = said_by("print(c.boot_id, c.boot())", *in_time_namespace())
    own = HostClock()
    assert float(boot) == pytest.approx(own.boot() + 1000, abs=60)
    assert identity != own.boot_id
    assert identity.startswith(own.boot_id[:36])
    assert len(identity) <= 64
