"""What `make release` builds: the same files twice, all that the tests need, links that lead somewhere, and a demo."""

import email
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.installation import ROOT, pip_environment

pytestmark = pytest.mark.install
BASE_URL = "https://git.example.com/billing/reconciler/blob/v1/"


def checkout(folder: Path) -> Path:
    """A copy of the files that are under version control."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: a release is made from one")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    for name in listed.stdout.strip("\0").split("\0"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # With its time, so that make finds the tools of an earlier build up to date.
        shutil.copy2(ROOT / name, target)
    return folder


def release(folder: Path, *, base_url: str = "", earlier: Mapping[str, Path] | None = None) -> Mapping[str, Path]:
    """What `make release` builds there, by suffix; with this environment's programs, and an earlier one's tools."""
    (folder / ".venv").symlink_to(ROOT / ".venv")
    if earlier is not None:
        (folder / "build").symlink_to(earlier[".whl"].parents[1] / "build")
    command = ["make", "--assume-old=.venv/.setup-done", "release", f"BASE_URL={base_url}"]
    subprocess.run(command, cwd=folder, check=True, timeout=500)
    return {path.suffix: path for path in (folder / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Without a base URL."""
    return release(checkout(tmp_path_factory.mktemp("release")))


def checksums(files: Mapping[str, Path]) -> str:
    return files[""].read_text("utf-8")


def contents(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def description(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return str(email.message_from_bytes(archive.read(metadata)).get_payload())


def test_a_second_build_gives_the_same_bytes(built: Mapping[str, Path], tmp_path: Path) -> None:
    again = checkout(tmp_path)
    # As with another umask, and at another time.
    for path in again.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(path.stat().st_mode & 0o700)
    assert checksums(release(again, earlier=built)) == checksums(built)


def test_a_build_from_the_sdist_gives_the_same_bytes(built: Mapping[str, Path], tmp_path: Path) -> None:
    with tarfile.open(built[".gz"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert checksums(release(folder, earlier=built)) == checksums(built)


def test_the_sdist_holds_every_file_of_the_project(built: Mapping[str, Path], tmp_path: Path) -> None:
    files = {str(path.relative_to(tmp_path)) for path in checkout(tmp_path).rglob("*") if path.is_file()}
    assert contents(built[".gz"]) == {*files, "PKG-INFO"}


def test_the_description_links_to_nothing_that_a_package_index_lacks(built: Mapping[str, Path], tmp_path: Path) -> None:
    assert "](docs/" not in description(built[".whl"])
    folder = checkout(tmp_path)
    linked = release(folder, base_url=BASE_URL, earlier=built)
    assert f"]({BASE_URL}docs/deployment.md)" in description(linked[".whl"])
    assert "](docs/" not in description(linked[".whl"])


def test_the_bill_of_materials_has_each_package_with_its_hashes(built: Mapping[str, Path]) -> None:
    bill = json.loads(built[".json"].read_text("utf-8"))
    assert f"-{bill['metadata']['component']['version']}-" in built[".whl"].name
    pins = [line for line in (ROOT / "requirements/web.txt").read_text("utf-8").splitlines() if line[:1].isalnum()]
    assert len(bill["components"]) == len(pins)
    for component in bill["components"]:
        (place,) = component["externalReferences"]
        assert place["hashes"], component["name"]


def test_the_checksums_are_those_of_the_files(built: Mapping[str, Path]) -> None:
    folder = built[""].parent
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, timeout=60)
    assert len(checksums(built).splitlines()) == len(built) - 1


def test_the_wheel_alone_runs_the_demo_in_an_empty_folder(built: Mapping[str, Path], tmp_path: Path) -> None:
    programs = tmp_path / "env" / "bin"
    subprocess.run([sys.executable, "-m", "venv", programs.parent], check=True, timeout=100)

    def install(extra: str) -> None:
        wheel = f"{built['.whl']}{extra}"
        command = [str(programs / "pip"), "install", "--quiet", wheel]
        subprocess.run(command, env=pip_environment(), check=True, timeout=300)

    # Not pytest's folder: the path of a Unix socket may not exceed about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="demo-", dir="/tmp") as work, tempfile.TemporaryDirectory() as empty:

        def demo() -> subprocess.CompletedProcess[str]:
            command = [str(programs / "reconciler"), "demo", "--orders", "120", "--window", "0.5"]
            env = {"PATH": "/usr/bin:/bin", "HOME": empty, "TMPDIR": work}
            return subprocess.run(command, cwd=empty, env=env, capture_output=True, text=True, timeout=100)

        install("")
        refused = demo()
        hint = "Error: the embedded broker is not installed: pip install 'recharge-reconciler[demo]'\n"
        assert (refused.returncode, refused.stderr) == (1, hint)
        install("[demo]")
        done = demo()
        assert (done.returncode, done.stderr) == (0, "")
        assert "Result: all is well." in done.stdout
        assert not list(Path(empty).iterdir())
