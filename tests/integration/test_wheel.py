"""An installed wheel migrates a database, and distinguishes the release after it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from worker.database.revisions import NotAtHead, check_at_head

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEAD = ScriptDirectory(str(ROOT / "migrations")).get_current_head()

LATER_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = depends_on = None


def upgrade():
    op.add_column("rejected_orders", sa.Column("more", sa.Integer()))


def downgrade():
    op.drop_column("rejected_orders", "more")
"""


def run(*command: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    # A bare environment: coverage would measure the installed copy, and report on files that are gone by then.
    environment = {"PATH": os.environ["PATH"], **({"PYTHONPATH": str(path)} if path else {})}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but this project, installed from its wheel."""
    wheels = tmp_path_factory.mktemp("wheels")
    target = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "--disable-pip-version-check", "--no-input")
    built = run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", wheels, ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = wheels.glob("*.whl")
    done = run(*pip, "install", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel)
    assert done.returncode == 0, done.stderr
    return target


def call(installed: Path, module: str, function: str, url: str) -> subprocess.CompletedProcess[str]:
    return run(
        "-c", f"import sys; from worker.database import {module}; {module}.{function}(sys.argv[1])", url, path=installed
    )


def test_an_installed_wheel_is_marked_as_typed_and_holds_the_words(installed: Path) -> None:
    for name in ("py.typed", "words/catalogue.toml", "words/locale/zh.mo"):
        assert (installed / "worker" / name).is_file()


def test_an_installed_wheel_has_chinese_without_babel(installed: Path) -> None:
    code = "from worker.words.catalogue import translations; print(translations('zh').gettext('Pending'))"
    assert run("-c", f"import sys; sys.modules['babel'] = None; {code}", path=installed).stdout == "处理中\n"


@pytest.mark.databases("sqlite")
def test_an_installed_wheel_migrates_and_knows_the_release_after_it(installed: Path, database_url: str) -> None:
    folder = run(
        "-c",
        "from worker.database.revisions import script_location; print(script_location())",
        path=installed,
    )
    assert Path(folder.stdout.strip()) == installed / "worker" / "migrations", folder.stderr

    migrated = call(installed, "migrations", "upgrade", database_url)
    assert migrated.returncode == 0, migrated.stderr
    check_at_head(database_url)

    (installed / "worker" / "migrations" / "versions" / "9999_more.py").write_text(LATER_REVISION.format(head=HEAD))
    behind = call(installed, "revisions", "check_at_head", database_url)
    assert behind.stderr.rstrip().endswith(
        f"NotAtHead: the database is at revision {HEAD}, but this release needs 9999: run `reconciler migrate`"
    )

    migrated = call(installed, "migrations", "upgrade", database_url)
    assert migrated.returncode == 0, migrated.stderr
    with pytest.raises(NotAtHead, match="does not know its revision 9999"):
        check_at_head(database_url)
