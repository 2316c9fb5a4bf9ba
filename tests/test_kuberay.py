"""The manifests are what KubeRay's own definitions allow, name what this project has, and run it as they say."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import ROOT

from jobs.cli.loading import load

DEFINITIONS = ROOT.parent / "shared" / "kuberay"  # KubeRay v1.7.0, helm-chart/kuberay-operator/crds
MANIFESTS = {"rayjob.yaml": "ray.io_rayjobs.yaml", "raycronjob.yaml": "ray.io_raycronjobs.yaml"}


def schema_of(definition: str) -> dict[str, Any]:
    if not (DEFINITIONS / definition).exists():
        pytest.skip(f"KubeRay's definitions are not in {DEFINITIONS.name} beside the checkout")
    document = yaml.load((DEFINITIONS / definition).read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [each for each in document["spec"]["versions"] if each["name"] == "v1"]
    schema: dict[str, Any] = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def closed(schema: Any) -> Any:
    """The schema with unknown fields refused, which Kubernetes would drop without a word."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    if made.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    return made


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_validate(name: str) -> None:
    manifest = yaml.safe_load((ROOT / "configs" / "kuberay" / name).read_text())
    schema = schema_of(MANIFESTS[name])
    jsonschema.Draft202012Validator(schema).validate(manifest)
    spoiled = manifest | {"spec": manifest["spec"] | {"rayClusterSpecs": {}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(spoiled)


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_name_what_is_here(name: str) -> None:
    text = (ROOT / "configs" / "kuberay" / name).read_text()
    dockerfile = (ROOT / "configs" / "kuberay" / "Dockerfile").read_text()
    (pinned,) = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    assert f'rayVersion: "{pinned.removeprefix("ray==")}"' in text
    assert f"FROM rayproject/ray:{pinned.removeprefix('ray==')}-py311" in dockerfile
    *_, script, config = entry_point(name).split()
    assert (ROOT / script).exists()
    (mount,) = {str(Path(mount["mountPath"])) for mount in mounts(name) if mount["name"] == "config"}
    documents = yaml.safe_load_all((ROOT / "configs" / "kuberay" / "citrascribe.yaml").read_text())
    (configured,) = [each["data"] for each in documents if each["kind"] == "ConfigMap"]
    assert {str(Path(mount, file)) for file in configured} == {config}


def spec_of(name: str) -> dict[str, Any]:
    """The specification of the RayJob."""
    spec: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "kuberay" / name).read_text())["spec"]
    return dict(spec.get("jobTemplate", spec))


def pods_of(name: str) -> list[dict[str, Any]]:
    cluster = spec_of(name)["rayClusterSpec"]
    return [group["template"]["spec"] for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]]


def mounts(name: str) -> list[dict[str, Any]]:
    return [mount for pod in pods_of(name) for mount in pod["containers"][0]["volumeMounts"]]


def entry_point(name: str) -> str:
    return str(spec_of(name)["entrypoint"])


def test_both_manifests_have_one_job() -> None:
    assert spec_of("rayjob.yaml") == spec_of("raycronjob.yaml")


@pytest.mark.parametrize("name", MANIFESTS)
def test_no_new_cluster_is_started_for_a_job_that_ended(name: str) -> None:
    spec = spec_of(name)
    assert spec["backoffLimit"] == 0  # KubeRay retries whatever the status
    assert spec["submitterConfig"]["backoffLimit"] > 0  # submits again where the head was lost


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_pod_has_the_configuration_and_the_cache(name: str) -> None:
    documents = list(yaml.safe_load_all((ROOT / "configs" / "kuberay" / "citrascribe.yaml").read_text()))
    made = {(each["kind"], each["metadata"]["name"]) for each in documents}
    for pod in pods_of(name):
        volumes = {each["name"]: each for each in pod["volumes"]}
        assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in made
        assert ("PersistentVolumeClaim", volumes["cache"]["persistentVolumeClaim"]["claimName"]) in made
        (container,) = pod["containers"]
        mounted = {each["name"]: Path(each["mountPath"]) for each in container["volumeMounts"]}
        assert mounted.keys() == volumes.keys()
        (cache,) = [Path(each["value"]) for each in container["env"] if each["name"] == "CITRASCRIBE_CACHE"]
        assert cache.parent == mounted["cache"]  # a folder of the user's own: the volume is root's
        assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"  # else its mode is changed


def test_the_configuration_loads(tmp_path: Path) -> None:
    documents = yaml.safe_load_all((ROOT / "configs" / "kuberay" / "citrascribe.yaml").read_text())
    (configured,) = [each["data"] for each in documents if each["kind"] == "ConfigMap"]
    (tmp_path / "config.yaml").write_text(configured["config.yaml"])
    config = load(str(tmp_path / "config.yaml"), [])
    assert config.model.device == "cuda"
    most = max(group["maxReplicas"] for group in spec_of("rayjob.yaml")["rayClusterSpec"]["workerGroupSpecs"][1:])
    assert config.ray.actors == (1, most)


#: Stands for Python: notes its arguments, and ends as the next line of the file `ends` says.
STUB = """#!/bin/sh
echo "$@" >> {folder}/calls
read -r how what < {folder}/ends
sed -i 1d {folder}/ends
case $how in
    exit) exit "$what" ;;
    kill) kill -"$what" $$ ;;
    gone) exec {folder}/none ;;
    wait)
        trap 'exit $what' TERM
        echo at work
        while :; do sleep 0.05; done
        ;;
esac
"""


def started(folder: Path, ends: list[str], shell: str = "sh") -> subprocess.Popen[str]:
    """The manifests' entry point, in a shell, with a stub for Python whose runs end as they are told."""
    (folder / "ends").write_text("".join(f"{line}\n" for line in ends))
    stub = folder / "python"
    stub.write_text(STUB.format(folder=folder))
    stub.chmod(0o700)
    surroundings = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CITRASCRIBE_PAUSE_SECONDS": "0.05",
        "CITRASCRIBE_LEASE_SECONDS": "0.05",
    }
    command = entry_point("rayjob.yaml")
    assert command.startswith("sh ")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        command.replace("sh", shell, 1).split(),
        cwd=ROOT,
        env=os.environ | surroundings,
        start_new_session=True,
        **pipes,
    )


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["exit 0"], 0),
        (["exit 4", "exit 4"], 0),  # of a run that is at work, and not of one that was killed
        (["exit 4", "exit 0"], 0),
        (["exit 4", "exit 3"], 3),
        (["exit 4", "exit 1", "exit 4", "exit 0"], 0),
        (["exit 2"], 2),
        (["exit 3"], 3),
        (["exit 1", "exit 0"], 0),
        (["exit 1", "exit 1", "exit 1"], 1),
        (["exit 1", "exit 3"], 3),
        (["kill KILL", "exit 0"], 0),
        (["kill KILL", "kill SEGV", "kill KILL"], 137),
        (["kill TERM", "exit 4", "exit 4"], 0),
        (["gone", "exit 0"], 0),
        (["gone", "gone", "gone"], 127),
        (["exit 126", "exit 130", "exit 143"], 143),
    ],
)
def test_the_entry_point_as_written(tmp_path: Path, shell: str, ends: list[str], status: int) -> None:
    run = started(tmp_path, ends, shell)
    _, seen = run.communicate(timeout=20)
    assert run.returncode == status, seen
    called = (tmp_path / "calls").read_text().splitlines()
    assert called == ["-m jobs.transcribe /etc/citrascribe/config.yaml"] * len(ends)
    assert ("nothing to do" in seen) == (ends[-1] == "exit 4")
    assert seen.count("looking again") + seen.count("; try ") == len(ends) - 1


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(("status", "times"), [(1, 1), (0, 1), (3, 2)])
def test_sigterm_is_passed_on_to_the_job(tmp_path: Path, shell: str, status: int, times: int) -> None:
    run = started(tmp_path, [f"wait {status}", "exit 0"], shell)
    assert run.stdout
    assert run.stdout.readline() == "at work\n"
    for _ in range(times):
        run.send_signal(signal.SIGTERM)
    _, seen = run.communicate(timeout=20)
    assert run.returncode == status, seen
    assert len((tmp_path / "calls").read_text().splitlines()) == 1  # it is not tried again
