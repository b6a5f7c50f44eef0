"""The objects of deploy/kubernetes, as kustomize puts them together."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.deploy.servers_over_tls import DEPLOY
from tests.support.needed import needed

FOLDER = DEPLOY / "kubernetes"
Objects = list[dict[str, Any]]

# By the Python of the tools that read YAML: ours does not.
_TO_JSON = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)"


@cache
def built(folder: Path = FOLDER) -> str:
    """What `kubectl apply -k` would apply. Raises AssertionError where kustomize finds a fault."""
    return _checked(needed("kustomize"), "build", folder)


def objects(folder: Path = FOLDER) -> Objects:
    """The same, read; they are the caller's to change."""
    found: Objects = json.loads(_read(folder))
    return found


@cache
def _read(folder: Path) -> str:
    return _checked(Path(needed("kubernetes-validate")).with_name("python"), "-c", _TO_JSON, given=built(folder))


def program_of(found: Objects, name: str) -> dict[str, Any]:
    """The job or the deployment of a program; of a cron job, the job that it makes."""
    (program,) = (one for one in found if one["metadata"]["name"] == f"reconciler-{name}" and _has_pods(one))
    if program["kind"] == "CronJob":
        return {**program, "kind": "Job", "spec": program["spec"]["jobTemplate"]["spec"]}
    return program


def pods(found: Objects) -> dict[str, dict[str, Any]]:
    """What the pods of each program are, by its name."""
    names = [one["metadata"]["name"].removeprefix("reconciler-") for one in found if _has_pods(one)]
    return {name: program_of(found, name)["spec"]["template"]["spec"] for name in names}


def _has_pods(one: dict[str, Any]) -> bool:
    return not {"template", "jobTemplate"}.isdisjoint(one.get("spec", {}))


def _checked(*command: str | Path, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
