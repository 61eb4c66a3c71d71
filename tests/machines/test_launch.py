"""`tuner cluster`: which tool is asked for what, by stub tools that write it down."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.stubs import Stubs

from tuner import layout
from tuner.cli.app import main
from tuner.cli.options import THEIRS
from tuner.machines import launch

CLUSTERS = layout.folder("clusters")
Tuner = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    return tmp_path


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stubs:
    return Stubs(tmp_path, monkeypatch)


@pytest.fixture
def tuner(capfd: pytest.CaptureFixture[str]) -> Tuner:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return code, *capfd.readouterr()

    return run


def filled_in(name: str) -> str:
    """A shipped file as a user has it: copied and filled in."""
    Path(name).write_text((CLUSTERS / name).read_text().replace("CHANGE_ME", "10.0.0.1"))
    return name


@pytest.mark.parametrize("name", ["ssh.yaml", "aws-gpu.yaml", "gcp-gpu.yaml"])
def test_ray_up_reads_its_own_files(name: str, tuner: Tuner, stubs: Stubs, here: Path) -> None:
    stubs.add("ray")
    filled_in(name)
    for action in ("up", "status", "down"):
        assert tuner("cluster", action, name, "--yes")[0] == 0
    assert stubs.calls == [f"ray up {name} --yes", f"ray exec {name} ray status --yes", f"ray down {name} --yes"]
    assert (here / "token").stat().st_mode & 0o777 == 0o600  # made before it is needed on other machines


def test_kubectl_reads_kubernetes_resources(tuner: Tuner, stubs: Stubs) -> None:
    stubs.add("kubectl")
    filled_in("kuberay.yaml")
    for action in ("up", "status", "down"):
        assert tuner("cluster", action, "kuberay.yaml", "--namespace", "ml")[0] == 0
    assert stubs.calls == [f"kubectl {verb} -f kuberay.yaml --namespace ml" for verb in ("apply", "get", "delete")]


def test_docker_compose_reads_services_and_gets_the_token(tuner: Tuner, stubs: Stubs, here: Path) -> None:
    stubs.add("docker", 'echo "$RAY_AUTH_TOKEN" >> ' + str(here / "tokens"))
    filled_in("docker-compose.yaml")
    for action in ("up", "status", "down"):
        assert tuner("cluster", action, "docker-compose.yaml")[0] == 0
    asked = [call for call in stubs.calls if call != "docker compose version"]
    assert asked == [f"docker compose -f docker-compose.yaml {words}" for words in ("up -d", "ps", "down")]
    token = (here / "token").read_text()
    assert len(token) > 20 and token in (here / "tokens").read_text()
    assert token not in "".join(stubs.calls)  # other users of the machine see command lines


def test_slurm_reads_batch_scripts(tuner: Tuner, stubs: Stubs) -> None:
    stubs.add("sbatch")
    stubs.add("squeue", 'case "$*" in *--noheader*) echo 77 ;; esac')
    stubs.add("scancel")
    filled_in("slurm.sbatch")
    assert tuner("cluster", "up", "slurm.sbatch", "--space", "my.yaml", "--trials", "9")[0] == 0
    assert tuner("cluster", "status", "slurm.sbatch")[0] == 0
    assert tuner("cluster", "down", "slurm.sbatch")[0] == 0
    submitted, listed, asked, cancelled = stubs.calls
    assert submitted == "sbatch slurm.sbatch --space my.yaml --trials 9"
    assert re.fullmatch(r"squeue --user=\S+ --name=tuner", listed) and asked.startswith(listed)
    assert cancelled == "scancel 77"


@pytest.mark.parametrize(("jobs", "said"), [("77 78", "these jobs are: 77, 78 queued"), ("", "no job is queued")])
def test_a_job_of_slurm_is_only_cancelled_where_it_is_clear_which(jobs: str, said: str, tuner: Tuner, stubs: Stubs) -> None:
    stubs.add("squeue", f"echo {jobs}")
    stubs.add("scancel")
    filled_in("slurm.sbatch")
    code, _, err = tuner("cluster", "down", "slurm.sbatch")
    assert code == THEIRS and said in err and "tuner cluster down slurm.sbatch JOB" in err
    assert tuner("cluster", "down", "slurm.sbatch", "78")[0] == 0
    assert [call for call in stubs.calls if call.startswith("scancel")] == ["scancel 78"]


@pytest.mark.parametrize(("file", "tool", "how"), [
    ("kuberay.yaml", "kubectl", "https://kubernetes.io/docs/tasks/tools/"),
    ("docker-compose.yaml", "docker", "https://docs.docker.com/engine/install/"),
    ("slurm.sbatch", "sbatch", "login node"),
])  # fmt: skip
def test_a_missing_tool_is_named_with_how_to_get_it(file: str, tool: str, how: str, tuner: Tuner, stubs: Stubs) -> None:
    code, out, err = tuner("cluster", "up", filled_in(file))
    assert (code, out) == (THEIRS, "")
    assert err.startswith(f"error: There is no `{tool}` on this machine. ") and how in err and err.count("\n") == 1


def test_a_docker_without_compose_is_told(tuner: Tuner, stubs: Stubs) -> None:
    stubs.add("docker", "exit 1")
    code, _, err = tuner("cluster", "up", filled_in("docker-compose.yaml"))
    assert code == THEIRS and "no `docker compose`" in err


def test_the_tools_exit_code_is_ours(tuner: Tuner, stubs: Stubs) -> None:
    stubs.add("kubectl", "echo no such cluster >&2; exit 3")
    code, _, err = tuner("cluster", "status", filled_in("kuberay.yaml"))
    assert (code, err) == (3, "no such cluster\n")


def test_a_file_that_is_not_filled_in_is_refused_with_its_lines(tuner: Tuner, stubs: Stubs) -> None:
    stubs.add("ray")
    assert tuner("cluster", "copy", "ssh.yaml")[:2] == (0, "ssh.yaml is here. Fill in what is marked CHANGE_ME.\n")
    code, _, err = tuner("cluster", "up", "ssh.yaml")
    assert code == THEIRS and re.search(r"^  ssh\.yaml:\d+: ssh_user: CHANGE_ME$", err, re.M)
    assert stubs.calls == []


@pytest.mark.parametrize("content", ["just words", "- a list", "a: b", "a: [", "services: {}\n---\napiVersion: v1\nkind: Pod\n"])
def test_a_file_that_nobody_reads_is_refused(content: str, tuner: Tuner, here: Path) -> None:
    (here / "my.yaml").write_text(content)
    code, _, err = tuner("cluster", "up", "my.yaml")
    assert code == THEIRS and err.startswith("error: my.yaml is no ") and "Traceback" not in err


def test_shipped_files_are_listed_and_copied_but_overwrite_nothing(tuner: Tuner) -> None:
    assert set(tuner("cluster", "copy")[1].split()) == set(launch.shipped()) >= {"ssh.yaml", "local.py", "Dockerfile"}
    code, _, err = tuner("cluster", "up", "kubray.yaml")
    assert code == THEIRS and "Did you mean 'kuberay.yaml'?" in err
    code, _, err = tuner("cluster", "up", "kuberay.yaml")
    assert code == THEIRS and "tuner cluster copy kuberay.yaml" in err
    assert tuner("cluster", "copy", "kuberay.yaml")[0] == 0
    code, _, err = tuner("cluster", "copy", "kuberay.yaml")
    assert code == THEIRS and "here already" in err
    code, _, err = tuner("cluster", "copy", "../README.md")
    assert code == THEIRS and "No cluster file '../README.md' comes with tuner." in err


def test_local_is_the_shipped_script_with_its_own_words(tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert tuner("cluster", "status", "local", "--port", "27399") == (1, "None runs on port 27399.\n", "")
    assert tuner("cluster", "down", "local", "--port", "27399") == (0, "No local cluster runs on port 27399.\n", "")
    code, _, err = tuner("cluster", "up", "local", "--nodes", "0")
    assert (code, err) == (THEIRS, "error: --nodes must stay within [1, 64], not 0.\n")
