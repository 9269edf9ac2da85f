"""What cannot run here is held to the real schemas and, one by one, to what docs/security.md promises of it.

Reference: the compose specification's schema (as check-jsonschema ships it), Kubernetes' own (kubernetes-validate), and
kustomize, where the machine has it.
"""

import itertools
import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from conftest import ROOT, must
from ruamel.yaml import YAML

from components.checkout.packages import locked

INFRA = ROOT / "infra"
KUBERNETES = ("1.31", "1.34")
"""The oldest and the newest that the manifests are for."""
SECRET = re.compile(r"password|secret|token|auth_string", re.IGNORECASE)
PINNED = re.compile(r"[\w/.-]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?")
Mapping = dict[str, Any]


def load(path: Path) -> list[Mapping]:
    return [document for document in YAML(typ="safe").load_all(path) if document]


def compose(*names: str) -> Mapping:
    """The services of compose files, as one file after the other says them."""
    services: dict[str, Mapping] = {}
    for name in names:
        (document,) = load(INFRA / name)
        for service, body in document["services"].items():
            services[service] = {**services.get(service, {}), **body}
    return services


SERVICES = compose("compose.yaml")
MANIFESTS = [d for path in sorted((INFRA / "kubernetes/base").glob("[!k]*.yaml")) for d in load(path)]


def pods(manifests: list[Mapping]) -> Iterator[Mapping]:
    return (manifest["spec"]["template"]["spec"] for manifest in manifests if manifest["kind"] == "Deployment")


def containers(manifests: list[Mapping]) -> list[Mapping]:
    return [container for pod in pods(manifests) for container in (*pod.get("initContainers", ()), *pod["containers"])]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_are_of_the_specification(name: str) -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    (document,) = load(INFRA / name)
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    document["services"]["worker"]["imagge"] = "x"
    assert not validator.is_valid(document)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_nobody_and_can_change_nothing_but_its_data(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*|\$\{HOURGLASS_UID:\?.*\}:\$\{HOURGLASS_GID:\?.*\}", service["user"])
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(service)
    assert "/var/run/docker.sock" not in str(service)
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    if name != "bucket":  # which ends when it is done
        assert service["healthcheck"]["test"][0] == "CMD"


def test_every_image_is_pinned_and_what_others_made_by_its_digest() -> None:
    ours = ("hourglass:", "hourglass-s3:", "hourglass-serve:")
    images = [service["image"] for service in (*SERVICES.values(), *compose("compose.gpu.yaml").values())]
    images += [container["image"] for container in containers(MANIFESTS)]
    images += [base for path in (INFRA / "docker").glob("*ockerfile") for base in bases(path)]
    assert len(images) > 10
    for image in images:
        assert PINNED.fullmatch(image), image
        assert image.startswith(ours) or "@sha256:" in image, image


def test_no_secret_is_written_down_and_each_is_asked_for() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) or re.search("://.*@", str(value)):
                assert re.search(r"\$\{\w+:\?run python -m infra.environment first\}", value), (name, variable)
    for container in containers(MANIFESTS):
        for variable in container.get("env", ()):
            if SECRET.search(variable["name"]):
                by_name = re.fullmatch(r"hourglass:\$\(PREFECT_API_SECRET\)", variable.get("value", ""))
                assert by_name or variable["valueFrom"]["secretKeyRef"]["name"] == "hourglass", variable
            assert not re.search(r"://[^$]*:[^$@]+@", variable.get("value", "")), variable
    assert not any(manifest["kind"] == "Secret" for manifest in MANIFESTS)
    config = (INFRA / "kubernetes/base/config.env").read_text()
    assert not SECRET.search(config)


def test_the_generated_environment_has_what_compose_and_kubernetes_ask_for(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    make = (sys.executable, "-m", "infra.environment")
    assert must(*make, cwd=tmp_path, PYTHONPATH=str(ROOT)) == "infra/.env written\n"
    file = tmp_path / "infra/.env"
    words = dict(line.split("=", 1) for line in file.read_text().splitlines())
    asked = set(re.findall(r"\$\{(\w+):\?", (INFRA / "compose.yaml").read_text()))
    refs = [
        v["valueFrom"]["secretKeyRef"]["key"]
        for c in containers(MANIFESTS)
        for v in c.get("env", ())
        if "valueFrom" in v
    ]
    assert asked | set(refs) == set(words) and refs
    secrets = [value for name, value in words.items() if SECRET.search(name)]
    assert len(set(secrets)) == 5 and min(map(len, secrets)) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert words["HOURGLASS_UID"] != "0" != words["HOURGLASS_GID"]
    assert "stays as it is" in must(*make, cwd=tmp_path, PYTHONPATH=str(ROOT)), "databases know the old passwords"
    assert words == dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert subprocess.run(["git", "check-ignore", "-q", "infra/.env"], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_are_of_kubernetes(version: str) -> None:
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, version, strict=True)
    assert {manifest["kind"] for manifest in MANIFESTS} >= {"Deployment", "Service", "NetworkPolicy", "Namespace"}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**MANIFESTS[0], "speck": {}}, version, strict=True)


def test_pods_keep_the_restricted_standard_and_say_how_they_are_and_what_they_need() -> None:
    for pod in pods(MANIFESTS):
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        assert all({"startupProbe", "readinessProbe", "livenessProbe"} <= set(c) for c in pod["containers"])
    for container in containers(MANIFESTS):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory"}


@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_kustomizations_name_their_files_and_nothing_else(overlay: str) -> None:
    (kustomization,) = load(INFRA / "kubernetes" / overlay / "kustomization.yaml")
    named = {name for name in kustomization["resources"] if name != "../base"}
    named |= {patch["path"] for patch in kustomization.get("patches", ())}
    named |= {name for made in kustomization.get("configMapGenerator", ()) for name in made["envs"]}
    assert {path.name for path in (INFRA / "kubernetes" / overlay).iterdir()} == {*named, "kustomization.yaml"}


@pytest.mark.skipif(
    not shutil.which("kubectl"), reason="no kubectl here, and Debian has one of 2020 only, which knows no `envs`"
)
def test_the_gpu_overlay_gives_the_worker_a_gpu_and_changes_nothing_else(tmp_path: Path) -> None:
    def rendered(overlay: str) -> dict[tuple[str, str], Mapping]:
        text = must("kubectl", "kustomize", str(INFRA / "kubernetes" / overlay), cwd=tmp_path)
        manifests = [document for document in YAML(typ="safe").load_all(text) if document]
        for manifest in manifests:
            kubernetes_validate.validate(manifest, KUBERNETES[-1], strict=True)
        return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}

    base, gpu = rendered("base"), rendered("gpu")
    assert len(base) == len(MANIFESTS) + 1  # the generated ConfigMap
    (changed,) = [key for key in base if base[key] != gpu[key]]
    assert changed == ("Deployment", "worker") and base.keys() == gpu.keys()
    (worker,) = gpu[changed]["spec"]["template"]["spec"]["containers"]
    assert worker["image"] == "hourglass:0.1.0-cuda"
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == worker["resources"]["requests"]["nvidia.com/gpu"] == "1"
    (before,) = base[changed]["spec"]["template"]["spec"]["containers"]
    assert worker["securityContext"] == before["securityContext"] and worker["env"] == before["env"]


def pool(name: str) -> tuple[Mapping, Mapping]:
    """The job that a pool starts for each run, and the variables of it."""
    template = json.loads((INFRA / f"pools/{name}.json").read_text())
    return template["job_configuration"], template["variables"]["properties"]


def test_a_run_in_a_container_of_its_own_is_held_to_what_the_worker_in_compose_is() -> None:
    job, variables = pool("docker")
    created, service = job["container_create_kwargs"], SERVICES["worker"]
    alike = ("working_dir", "read_only", "cap_drop", "security_opt", "init")
    assert {key: created[key] for key in alike} == {key: service[key] for key in alike}
    assert (job["image"], job["privileged"]) == (service["image"], False)
    shared, beside = variables["env"]["default"], service["environment"]
    secrets = {name: value for name, value in shared.items() if SECRET.search(name)}
    assert secrets == {"AWS_SECRET_ACCESS_KEY": "{{ prefect.blocks.secret.hourglass-s3 }}"}
    assert all(beside[name] == value for name, value in shared.items() if name not in secrets)


def test_a_job_in_the_cluster_is_held_to_what_the_worker_there_is() -> None:
    manifest = pool("kubernetes")[0]["job_manifest"]
    worker = next(d for d in MANIFESTS if (d["kind"], d["metadata"]["name"]) == ("Deployment", "worker"))
    job, pod = manifest["spec"]["template"]["spec"], worker["spec"]["template"]["spec"]
    (run,), (beside,) = job["containers"], pod["containers"]
    for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert job[key] == pod[key]
    for key in ("image", "workingDir", "envFrom", "resources", "securityContext", "volumeMounts"):
        assert run[key] == beside[key]
    assert job["volumes"] == pod["volumes"]
    assert all("valueFrom" in variable for variable in run["env"] if SECRET.search(variable["name"]))
    manifest["metadata"]["labels"], run["args"] = {}, ["prefect"]  # which the pool's worker fills in
    for version in KUBERNETES:
        kubernetes_validate.validate(manifest, version, strict=True)


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: comments gone, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.strip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def bases(path: Path) -> list[str]:
    """The images of others that a Dockerfile builds on."""
    froms = [rest.split(" AS ") for word, rest in instructions(path) if word == "FROM"]
    stages = {name for _, name in (part for part in froms if len(part) == 2)} | {"${DEVICE}"}
    return [part[0] for part in froms if part[0] not in stages]


@pytest.mark.parametrize("path", sorted((INFRA / "docker").glob("*ockerfile")), ids=lambda path: path.name)
def test_images_run_as_nobody_and_are_built_from_what_is_listed(path: Path) -> None:
    said = instructions(path)
    words = [word for word, _ in said]
    assert [rest for word, rest in said if word == "USER"] == ["10001:10001"]
    assert "ADD" not in words and not any(SECRET.search(rest) for word, rest in said if word in ("ARG", "ENV"))
    assert not [rest for word, rest in said if word == "RUN" and re.search(r"curl|wget|sudo|https?:", rest)]


@pytest.mark.parametrize(
    ("name", "stages", "lock"),
    [
        ("Dockerfile", ["cpu", "cuda", "build", "run"], "requirements.lock"),
        ("serve.Dockerfile", ["base", "build", "serve"], "infra/docker/serve.lock"),
    ],
)
def test_images_have_their_stages_and_install_by_hash(name: str, stages: list[str], lock: str) -> None:
    said = instructions(INFRA / "docker" / name)
    assert [rest.rpartition(" AS ")[2] for word, rest in said if word == "FROM"] == stages
    (install,) = [rest for _, rest in said if "pip install" in rest]
    copied = [rest.split()[:-1] for word, rest in said if word == "COPY" and "--from" not in rest]
    assert "--require-hashes" in install and Path(lock).name in install and [lock] in copied
    allowed = (INFRA / "docker" / f"{name}.dockerignore").read_text().splitlines()
    for source in itertools.chain(*copied):
        assert list(ROOT.glob(source)), source
        assert {f"!{source}", f"!{source.split('/')[0]}"} & set(allowed), source
    assert "*" in allowed and ("!infra" not in allowed or allowed.index("infra/.env") > allowed.index("!infra"))


def test_a_served_version_gets_a_part_of_the_lock_and_no_torch() -> None:
    pins = list(locked(INFRA / "docker/serve.lock"))  # where a package is needed differs with who asks for it
    versions = {(pin.name, pin.version) for pin in pins}
    assert versions < {(pin.name, pin.version) for pin in locked(ROOT / "requirements.lock")}
    names = {pin.name for pin in pins}
    assert {"mlflow-skinny", "numpy", "onnxruntime", "pandas", "uvicorn"} < names and not {"torch", "mlflow"} & names
    asked = {
        rest for word, rest in instructions(INFRA / "docker/serve.Dockerfile") if word in ("ENTRYPOINT", "HEALTHCHECK")
    }
    assert any(json.dumps(SERVICES["serve"]["healthcheck"]["test"][1:]) in rest for rest in asked)
