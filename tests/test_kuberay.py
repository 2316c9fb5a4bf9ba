"""The manifests are what KubeRay's own definitions allow, and name what this project has."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import ROOT

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
    (entrypoint,) = {line.split("entrypoint: ")[1] for line in text.splitlines() if "entrypoint: " in line}
    module, config = entrypoint.split()[2:4]
    assert Path(ROOT, module.replace(".", "/") + ".py").exists()
    assert Path(ROOT, config).exists()
