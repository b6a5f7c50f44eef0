"""The files of deploy/kubernetes: checked by the schemas of Kubernetes, and against the units of systemd."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.kubernetes import FOLDER, Objects, built, objects, pods, program_of
from tests.deploy.quadlet import IMAGE, ROOT, command_of
from tests.deploy.servers_over_tls import DEPLOY
from tests.support.needed import needed

pytestmark = pytest.mark.deploy

FILES = sorted(file.name for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")
KINDS = {"Namespace", "ConfigMap", "Job", "CronJob", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
"""No autoscaler: more workers ask no more."""
OLDEST = "1.29"


@pytest.fixture(scope="module")
def found() -> Objects:
    return objects()


def one(found: Objects, kind: str, name: str) -> dict[str, Any]:
    (it,) = (each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return it


@pytest.mark.parametrize("version", ["newest", OLDEST])
def test_kubernetes_knows_every_field(version: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(built(), "utf-8")
    of_version = [] if version == "newest" else [f"--kubernetes-version={version}"]
    command = [needed("kubernetes-validate"), "--strict", *of_version, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kustomize_takes_every_file_and_the_image_of_this_release(found: Objects) -> None:
    listed = re.findall(r"^  - (\S+\.yaml)$", (FOLDER / "kustomization.yaml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == FILES
    assert {each["kind"] for each in found} == KINDS
    images = {pod["containers"][0]["image"] for pod in pods(found).values()}
    assert images == {f"registry.example.internal/{IMAGE}"}


def test_the_kustomization_of_the_document_gives_every_pod_its_image_and_the_secret_of_notifications(
    tmp_path: Path,
) -> None:
    (printed,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/deployment.md").read_text("utf-8"), re.DOTALL)
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    own = tmp_path / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(printed, "utf-8")
    found = objects(own)
    settings = one(found, "ConfigMap", "reconciler")["data"]
    assert settings.keys() >= {"RECONCILER_PLATFORM_URL", "RECONCILER_NOTIFY_URL"}
    file = settings["RECONCILER_NOTIFY_SECRET_FILE"]
    for name, pod in pods(found).items():
        (container,) = pod["containers"]
        assert container["image"] == f"registry.example.com/{IMAGE}"
        (secret,) = (volume["secret"] for volume in pod["volumes"] if volume["name"] == "secrets")
        (place,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets")
        assert file in [f"{place}/{item['path']}" for item in secret["items"]], name
    assert not one(found, "CronJob", "reconciler-resend")["spec"]["suspend"]


def test_pods_run_what_the_units_of_systemd_run(found: Objects) -> None:
    programs = {unit.stem.removeprefix("reconciler-"): unit for unit in (DEPLOY / "systemd").glob("*.service")}
    assert pods(found).keys() == programs.keys() | {"migrate"}
    for name, unit in programs.items():
        (container,) = pods(found)[name]["containers"]
        ours = " ".join(container["command"]).replace("--host 0.0.0.0 ", "")
        assert ours == command_of(unit.read_text("utf-8")).replace("/opt/reconciler/bin/", "").replace("'", "")
        # Credentials there are a secret's files here.
        (secret,) = (volume["secret"] for volume in pods(found)[name]["volumes"] if volume["name"] == "secrets")
        files = [item["path"] for item in secret["items"]]
        # Prometheus is on another machine here.
        metrics = ["metrics_token"] if name == "operate" else []
        assert files == [*re.findall(r"LoadCredential=(\w+):", unit.read_text("utf-8")), *metrics]


def test_no_pod_may_do_more_than_it_needs(found: Objects) -> None:
    for name, pod in pods(found).items():
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        user = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}
        assert pod["securityContext"] == {**user, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"], name
        # Secrets come as files that the container has, and what it writes goes to a folder that it has.
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        for variable in container["env"]:
            is_folder = variable["name"].endswith("_FOLDER")
            assert is_folder or variable["name"].endswith("_FILE")
            assert (variable["value"] if is_folder else variable["value"].rpartition("/")[0]) in mounts


def test_pods_are_given_the_time_that_they_need_to_end(found: Objects) -> None:
    assert one(found, "Deployment", "reconciler-worker")["spec"]["strategy"] == {"type": "Recreate"}
    graces = {name: pod.get("terminationGracePeriodSeconds") for name, pod in pods(found).items()}
    assert {name: grace for name, grace in graces.items() if grace} == {"worker": 75, "callbacks": 45, "operate": 45}


def test_pods_of_which_there_are_several_spread_over_the_nodes(found: Objects) -> None:
    for name, pod in pods(found).items():
        is_one_of_several = program_of(found, name)["spec"].get("replicas", 1) > 1
        spread = [one["labelSelector"]["matchLabels"] for one in pod.get("topologySpreadConstraints", ())]
        labels = program_of(found, name)["spec"]["template"]["metadata"]["labels"]
        assert spread == ([labels] if is_one_of_several else []), name


def test_cron_jobs_start_when_the_timers_do_and_the_re_send_waits_for_its_program(found: Objects) -> None:
    jobs = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "CronJob"}
    assert jobs.keys() == {timer.stem for timer in (DEPLOY / "systemd").glob("*.timer")}
    for name, job in jobs.items():
        text = (DEPLOY / f"systemd/{name}.timer").read_text("utf-8")
        ((hour, minute),) = re.findall(r"^OnCalendar=\*-\*-\* 0(\d):(\d\d)$", text, re.MULTILINE)
        assert job["schedule"] == f"{minute} {hour} * * *"
    assert {name for name, job in jobs.items() if job.get("suspend")} == {"reconciler-resend"}


def test_pods_are_probed_where_an_answer_means_something(found: Objects) -> None:
    containers = {name: pod["containers"][0] for name, pod in pods(found).items()}
    assert containers["worker"]["livenessProbe"]["exec"]["command"] == ["reconciler", "health"]
    for name in ("callbacks", "operate"):
        probes = [containers[name][probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
        assert probes == [{"path": path, "port": "http"} for path in ("/livez", "/readyz")]
    with_probes = {name for name, container in containers.items() if {"livenessProbe", "readinessProbe"} & {*container}}
    assert with_probes == {"worker", "callbacks", "operate"}


def test_services_budgets_and_policies_select_pods_that_there_are(found: Objects) -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in found if "template" in each.get("spec", {})]
    selectors = [each["spec"]["selector"] for each in found if each["kind"] == "Service"]
    for each in found:
        if each["kind"] in ("PodDisruptionBudget", "Deployment"):
            selectors.append(each["spec"]["selector"]["matchLabels"])
        if each["kind"] == "NetworkPolicy":
            selectors.append(each["spec"]["podSelector"].get("matchLabels"))
    # The one that counts for all pods.
    selectors.remove(None)
    assert all(selector in labels for selector in selectors)
    budget = one(found, "PodDisruptionBudget", "reconciler-callbacks")
    assert budget["spec"]["minAvailable"] < one(found, "Deployment", "reconciler-callbacks")["spec"]["replicas"]
