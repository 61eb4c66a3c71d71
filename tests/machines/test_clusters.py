"""What starts Ray on several machines: every file is one that its tool reads, asks for the token, and names the same versions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kit.stubs import Stubs
from kit.waiting import ENDS_S

from tuner import layout

CLUSTERS = layout.folder("clusters")
ROOT = CLUSTERS.parent
RAY_UP = ("aws-gpu.yaml", "gcp-gpu.yaml", "ssh.yaml")
FILES = ("Dockerfile", "docker-compose.yaml", "kuberay.yaml", "local.py", "slurm.sbatch", *RAY_UP)

VERSIONS = dict(line.split("=", 1) for line in (CLUSTERS / "versions.env").read_text().splitlines() if line and not line.startswith("#"))


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CLUSTERS / name).read_text())
    return content


# --- versions, the token, the interfaces -------------------------------------------------------------------------------


def test_readme_names_every_file() -> None:
    readme = (CLUSTERS / "README.md").read_text()
    assert {path.name for path in CLUSTERS.iterdir() if path.is_file()} == {*FILES, "README.md", "versions.env"}
    assert [name for name in FILES if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", FILES)
def test_images_and_versions_agree_with_the_one_place(name: str) -> None:
    text = (CLUSTERS / name).read_text()
    assert set(re.findall(r"tuner:\d[\w.-]*", text)) <= {VERSIONS["IMAGE"]}
    near = re.findall(r"\b(?:ray|RAY|rayVersion|__version__\) == \()\W{1,4}(\d+\.\d+\.\d+)", text)
    assert set(near) <= {VERSIONS["RAY"]}, near
    assert set(re.findall(r"\bPYTHON=([\d.]+)", text)) <= {VERSIONS["PYTHON"]}
    assert set(re.findall(r"KubeRay\D{0,20}, ([\d.]+\d) or later", text)) <= {VERSIONS["KUBERAY"]}
    # A version that no pattern above knows is one that nobody would update. (CUDA, NFS, disks and the like are not ours.)
    known = {VERSIONS["RAY"], VERSIONS["TUNER"], VERSIONS["KUBERAY"], "127.0.0.1", "0.0.0.0", "1.4.8"}
    assert set(re.findall(r"\b\d+\.\d+\.\d+(?:\.\d+)?\b", text)) <= known


def test_the_one_place_agrees_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert VERSIONS["TUNER"] == project["version"] and VERSIONS["IMAGE"] == f"tuner:{VERSIONS['TUNER']}"
    (ray,) = (found[1] for line in project["dependencies"] if (found := re.match(r"ray\[.*\]>=([\d.]+)", line)))
    assert tuple(map(int, VERSIONS["RAY"].split("."))) >= tuple(map(int, ray.split(".")))
    assert VERSIONS["PYTHON"] == project["requires-python"].removeprefix(">=")


@pytest.mark.parametrize("name", [name for name in FILES if name != "kuberay.yaml"])
def test_ray_asks_for_its_token_wherever_it_is_started(name: str) -> None:
    text = (CLUSTERS / name).read_text()
    assert re.search(r"RAY_AUTH_MODE\W{1,4}token\b", text)
    assert "disabled" not in text
    started = [line for line in text.splitlines() if re.search(r"\bray start\b|\"start\"", line)]
    assert started or name == "Dockerfile"


@pytest.mark.parametrize("name", ["local.py", "slurm.sbatch", *RAY_UP])
def test_the_dashboard_listens_on_the_loopback(name: str) -> None:
    hosts = re.findall(r"--dashboard-host=([\w.]+)", (CLUSTERS / name).read_text())
    assert set(hosts) == {"127.0.0.1"}


# --- ray up ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_accepts_the_file(name: str) -> None:
    """As Ray does it: its defaults filled in, then its schema and its own checks."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    filled = prepare_config(load(name))
    validate_config(filled)
    with pytest.raises(jsonschema.ValidationError):
        validate_config(filled | {"max_wrokers": 1})  # the schema is one that finds a typo


@pytest.mark.parametrize("name", RAY_UP)
def test_every_machine_of_ray_up_gets_the_token_and_is_told_to_ask_for_it(name: str) -> None:
    content = load(name)
    assert content["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    if "docker" in content:
        assert "--env=RAY_AUTH_MODE=token" in content["docker"]["run_options"]
        return
    for kind in ("head", "worker"):
        (start,) = (line for line in content[f"{kind}_start_ray_commands"] if "ray start" in line)
        assert "export" in start and "RAY_AUTH_MODE=token" in start


# --- Kubernetes --------------------------------------------------------------------------------------------------------

# The parts of KubeRay's resources that ours use, after ray-operator/apis/ray/v1/{raycluster,rayjob}_types.go of 1.5. Names that
# are not listed are refused, as the operator would ignore them without a word.
QUANTITIES = {"type": "object", "additionalProperties": {"type": "string"}}


def exactly(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": [*required], "properties": {**required, **optional}, "additionalProperties": False}


NAMED = exactly({"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}})
CONTAINER = exactly(
    {"name": {"type": "string"}, "image": {"type": "string"}, "resources": exactly({"requests": QUANTITIES, "limits": QUANTITIES})},
    env={"type": "array", "items": exactly({"name": {"type": "string"}, "value": {"type": "string"}})},
    ports={"type": "array", "items": exactly({"name": {"type": "string", "maxLength": 15}, "containerPort": {"type": "integer"}})},
    volumeMounts={"type": "array", "items": exactly({"name": {"type": "string"}, "mountPath": {"type": "string"}})},
)
POD = exactly(
    {
        "spec": exactly(
            {"containers": {"type": "array", "minItems": 1, "items": CONTAINER}},
            securityContext=exactly({}, fsGroup={"type": "integer"}),
            volumes={
                "type": "array",
                "items": exactly({"name": {"type": "string"}, "persistentVolumeClaim": exactly({"claimName": {"type": "string"}})}),
            },
        )
    }
)
START_PARAMS = {"type": "object", "additionalProperties": {"type": "string"}}  # numbers must be quoted
COUNT = {"type": "integer", "minimum": 0}
KUBERNETES = {
    "RayCluster": {
        "apiVersion": {"const": "ray.io/v1"},
        "metadata": NAMED,
        "spec": exactly(
            {
                "rayVersion": {"type": "string"},
                "authOptions": exactly({"mode": {"enum": ["token", "disabled"]}}),
                "headGroupSpec": exactly({"rayStartParams": START_PARAMS, "template": POD}, serviceType={"type": "string"}),
            },
            workerGroupSpecs={
                "type": "array",
                "items": exactly(
                    {"groupName": {"type": "string"}, "rayStartParams": START_PARAMS, "template": POD},
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                ),
            },
        ),
    },
    "RayJob": {
        "apiVersion": {"const": "ray.io/v1"},
        "metadata": NAMED,
        "spec": exactly(
            {"entrypoint": {"type": "string"}},
            clusterSelector={"type": "object", "additionalProperties": {"type": "string"}},
            submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        ),
    },
    "PersistentVolumeClaim": {
        "apiVersion": {"const": "v1"},
        "metadata": NAMED,
        "spec": exactly(
            {
                "accessModes": {"type": "array", "items": {"enum": ["ReadWriteOnce", "ReadWriteMany"]}},
                "resources": exactly({"requests": QUANTITIES}),
            },
            storageClassName={"type": "string"},
        ),
    },
}


def test_kuberay_accepts_every_resource_of_the_file_and_they_fit_together() -> None:
    found = {content["kind"]: content for content in yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text())}
    assert set(found) == set(KUBERNETES)
    for kind, content in found.items():
        jsonschema.validate(content, exactly({"kind": {"const": kind}, **KUBERNETES[kind]}))
    cluster, job = found["RayCluster"], found["RayJob"]
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert cluster["spec"]["rayVersion"] == VERSIONS["RAY"]
    assert cluster["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    (workers,) = cluster["spec"]["workerGroupSpecs"]
    for group in (cluster["spec"]["headGroupSpec"], workers):
        spec = group["template"]["spec"]
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        assert {volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]} == {
            found["PersistentVolumeClaim"]["metadata"]["name"]
        }
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_what_the_cluster_runs_are_commands_that_tuner_has() -> None:
    """The job's entrypoint, parsed by tuner's own command line."""
    import shlex

    import typer.main

    from tuner.cli.app import app

    job = next(content for content in yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text()) if content["kind"] == "RayJob")
    program, command, *words = shlex.split(job["spec"]["entrypoint"])
    assert program == "tuner"
    typer.main.get_command(app).commands[command].make_context(command, words)  # type: ignore[attr-defined]


# --- containers --------------------------------------------------------------------------------------------------------

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SERVICE = exactly(
    {"image": {"type": "string"}, "command": {"type": "string"}, "environment": TEXTS},
    build=exactly({"context": {"type": "string"}, "dockerfile": {"type": "string"}}),
    volumes={"type": "array", "items": {"type": "string"}},
    shm_size={"type": "string"},
    init={"type": "boolean"},
    restart={"enum": ["no", "always", "on-failure", "unless-stopped"]},
    ports={"type": "array", "items": {"type": "string"}},
    healthcheck=exactly(
        {"test": {"type": "array"}}, interval={"type": "string"}, timeout={"type": "string"}, retries={"type": "integer"}
    ),
    depends_on={"type": "object", "additionalProperties": exactly({"condition": {"enum": ["service_started", "service_healthy"]}})},
    deploy=exactly({}, replicas={"type": "integer"}, resources={"type": "object"}),
)  # fmt: skip
COMPOSE = {
    "type": "object",
    "required": ["services"],
    "properties": {
        "name": {"type": "string"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "object"}},
    },
    "patternProperties": {"^x-": {}},
    "additionalProperties": False,
}


def test_docker_compose_accepts_the_file_and_publishes_on_the_loopback_only() -> None:
    content = load("docker-compose.yaml")
    jsonschema.validate(content, COMPOSE)
    head, worker = content["services"]["head"], content["services"]["worker"]
    assert head["ports"] == ["127.0.0.1:8265:8265"] and "ports" not in worker
    for service in (head, worker):
        assert service["image"] == VERSIONS["IMAGE"]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")  # there is no default
        assert {volume.split(":")[0] for volume in service["volumes"]} == set(content["volumes"])
        assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_the_image_takes_every_file_that_the_wheel_is_built_from() -> None:
    text = (CLUSTERS / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.*) \./\S*$", text, re.M) for word in line.split()}
    folders = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values())
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "tuner", *folders}
    assert all((ROOT / source).exists() for source in copied)
    assert re.search(r"^USER tuner$", text, re.M)  # not root
    assert not re.search(r"\bPATH=", text)  # a login shell would forget it
    defaults = dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.M))
    assert defaults == {name: VERSIONS[name] for name in ("PYTHON", "RAY")}


# --- SLURM -------------------------------------------------------------------------------------------------------------


def slurm(stubs: Stubs, *words: str, nodes: int = 2) -> subprocess.CompletedProcess[str]:
    """Runs the batch script as SLURM would, on stub commands."""
    stubs.add("scontrol", 'printf "node1\\nnode2\\nnode3\\n"')
    stubs.add("srun", 'case "$*" in *"hostname --ip-address"*) echo "10.0.0.7 fe80::1" ;; *"ray start"*) exec sleep 60 ;; esac')
    stubs.add("ray", 'case "$1" in get-auth-token) test "$2" = --generate ;; esac')
    # As the real one, it waits for the nodes: the script starts them in the background, and ends them when it ends.
    stubs.add("tuner", f'case "$1" in doctor) {stubs.until("srun .*ray start", min(nodes, 2))}; exit ${{DOCTOR:-0}} ;; esac')
    job = {"SLURM_JOB_NODELIST": "node[1-3]", "SLURM_JOB_ID": "123456", "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_CPUS_PER_TASK": "8"}
    return subprocess.run(
        ["bash", str(CLUSTERS / "slurm.sbatch"), *words],
        env={"RAY_AUTH_TOKEN_PATH": str(stubs.folder / "no token"), **os.environ, **job, "SLURM_GPUS_ON_NODE": "2", "PATH": stubs.path},
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS_S,
    )


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stubs:
    return Stubs(tmp_path, monkeypatch)


def test_bash_accepts_the_batch_script_and_slurm_its_directives() -> None:
    path = CLUSTERS / "slurm.sbatch"
    subprocess.run(["bash", "-n", str(path)], check=True)
    lines = path.read_text().splitlines()
    directives = [line for line in lines if line.startswith("#SBATCH")]
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+=\S+", line) for line in directives)
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(lines.index(line) < first_command for line in directives)  # SLURM reads none after that


def test_the_batch_script_starts_a_head_and_workers_checks_them_and_searches(
    stubs: Stubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.touch(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    done = slurm(stubs, "--space", "a space.yaml", nodes=3)
    assert done.returncode == 0, done.stderr
    starts = [call for call in stubs.calls if call.startswith("srun") and "ray start" in call]
    head = next(call for call in starts if "--head" in call)
    (worker,) = (call for call in starts if "--head" not in call)
    assert (
        "--nodelist=node1" in head
        and "--node-ip-address=10.0.0.7 --port=23456 --ray-client-server-port=29456 --dashboard-host=127.0.0.1" in head
    )
    assert "--nodes=2 --ntasks=2 --exclude=node1" in worker and "--address=10.0.0.7:23456 --num-cpus=8 --num-gpus=2" in worker
    assert "ray get-auth-token --generate" in stubs.calls  # there was none
    assert token.stat().st_mode & 0o777 == 0o600
    asked = [call for call in stubs.calls if call.startswith("tuner")]
    assert asked == [
        "tuner doctor --address 10.0.0.7:23456 --nodes 3",
        "tuner search --space a space.yaml --address 10.0.0.7:23456",
    ]
    assert not [call for call in stubs.calls if "ray stop" in call]  # would end other jobs' Ray on the same nodes


def test_the_batch_script_stops_where_the_doctor_finds_a_problem(stubs: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR", "1")
    assert slurm(stubs, "--space", "x.yaml").returncode == 1
    assert not [call for call in stubs.calls if call.startswith("tuner search")]


def test_the_batch_script_on_one_node_starts_no_workers(stubs: Stubs) -> None:
    assert slurm(stubs, "--space", "x.yaml", nodes=1).returncode == 0
    assert len([call for call in stubs.calls if "ray start" in call and call.startswith("srun")]) == 1


# --- this machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("up", "--nodes", "0"), "--nodes must stay within [1, 64], not 0."),
        (("up", "--port", "80"), "--port must stay within [1024, 65535], not 80."),
    ],
)
def test_a_local_cluster_that_cannot_be_is_refused(words: tuple[str, ...], said: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(CLUSTERS / "local.py"), *words], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"error: {said}\n")
