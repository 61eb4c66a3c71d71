"""What a search loses when its processes are killed: `python benchmarks/chaos.py [--seed 0] [--write docs/reliability.md]`.

Twice, with packs off and on, a search runs over three Ray nodes on this machine, and after so many lines of its journal, drawn from
the seed, something is killed with SIGKILL: a process that trains, the driver, which is then resumed, or a node with all that runs on
it, for which another one joins. In the end the journal, the study, the W&B runs (recorded offline) and best.yaml must agree, every
trial must have ended by itself or by the scheduler, and no epoch may be missing or there twice. Exit code 1 where that is not so.

    python benchmarks/chaos.py --packs off --nodes 20 --node-kills 100     # nodes alone, many of them, again and again
    python benchmarks/chaos.py --node-kills 0 --rpc-failures 2             # Ray's own fault injection instead: of a hundred calls between
                                                                           # its processes, two requests and two answers are lost
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agreement import ROOT, Left
from tuner.clusters import local

from tuner.machines.versions import commit

NAME, TRIALS, MORE = "chaos", 24, 12
NODE = "a node"
KILLS = ("a process that trains",) * 5 + ("the driver",) * 4 + (NODE,) * 2  # of one search, in an order that the seed draws
LINES = (6, 24)  # between two of them, at least and at most
LIMIT_S = 300  # without a new line
CHECKPOINT_EVERY_S = 0.3  # instead of a minute: some epochs are trained again, others are not
SHARE = {"cpus": 1, "gpus": 0}
BEGIN, END = "<!-- benchmarks/chaos.py: begin -->", "<!-- benchmarks/chaos.py: end -->"

SPACE = """\
model: dec
dataset: digits
metric: {name: acc, goal: maximize}
trials: TRIALS
epochs: 8
early_terminate: {type: asha, grace: 2, reduction: 2}
resources: {cpu: 1, gpu: 0, pack: PACK}
retries: 20   # one trial may be hit often
parameters:
  hidden: {value: 200}
  batch_size: {value: 64}
  pretrain_epochs: {value: 6}
  lr_pretrain: {distribution: log_uniform_values, min: 3e-4, max: 3e-3}
  lr: {distribution: log_uniform_values, min: 1e-3, max: 1e-1}
"""
TUNER = f"""
import sys
from tuner.cli import app
from tuner.search import trainer
trainer.CHECKPOINT_EVERY_S = {CHECKPOINT_EVERY_S}
sys.exit(app.main(sys.argv[1:]))
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to each search. `kills`: in any order."""

    seed: int = 0
    nodes: int = 3
    kills: Sequence[str] = KILLS
    trials: int = TRIALS


class Search:
    """A search under attack, in a folder of its own."""

    def __init__(self, pack: str, port: int, folder: Path, plan: Plan) -> None:
        self._rng, self._port, self._folder, self._plan = random.Random(f"{plan.seed} {pack}"), port, folder, plan
        self.run, self.trials, self.kills, self.drivers = folder / "runs" / NAME, plan.trials, Counter[str](), 0
        self.calls_lost = 0
        self._nodes = list(range(1, plan.nodes))  # that may be lost: the driver is on node 0
        (folder / "space.yaml").write_text(SPACE.replace("PACK", pack).replace("TRIALS", str(plan.trials)))
        self._address = f"--address=127.0.0.1:{port}"
        self._driver = self._tuner("search", "--space=space.yaml", f"--name={NAME}", "--wandb=offline", self._address)

    def _tuner(self, *words: str) -> subprocess.Popen[bytes]:
        self.drivers += 1
        with (self._folder / f"driver-{self.drivers}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", TUNER, *words], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def end(self) -> None:
        self._driver.kill()
        self._driver.wait()

    def attack(self) -> None:
        """All kills, and then to the end of the search."""
        for what in self._rng.sample(self._plan.kills, len(self._plan.kills)):
            self._wait(self._lines() + self._rng.randint(*LINES))
            if what == "the driver":
                self.end()
                self._driver = self._tuner("resume", NAME, "--wandb=offline", self._address)
            elif what == NODE:
                local.lose(self._port, self._nodes.pop(self._rng.randrange(len(self._nodes))))
                self._nodes.append(local.add(self._port, SHARE))
            else:
                os.kill(self._one_that_trains(), signal.SIGKILL)
            self.kills[what] += 1
            print(f"  {self._lines()} lines: killed {what}", flush=True)
        self._wait(None)
        if self._driver.returncode != 0:
            self._fail("the search did not end well")

    def _lines(self) -> int:
        journal = self.run / "results.jsonl"
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def _wait(self, lines: int | None) -> None:
        """Until the journal has so many; a search that ends before is given more trials. None: until it has ended."""
        since, before = time.monotonic(), self._lines()
        while lines is None or self._lines() < lines:
            if (now := self._lines()) > before:
                since, before = time.monotonic(), now
            ended = self._driver.poll()
            if ended is not None and lines is None:
                return
            if ended == 0:
                self.trials += MORE
                self._driver = self._tuner("resume", NAME, f"--trials=+{MORE}", "--wandb=offline", self._address)
            elif ended is not None or time.monotonic() - since > LIMIT_S:
                self._fail("the search ended" if ended is not None else f"no new line for {LIMIT_S} s")
            time.sleep(0.02)

    def _one_that_trains(self) -> int:
        """A process of a trial, or one that trains packs. Waits for one: those of a driver that was killed may have to be started yet."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            found = []
            for node in local.alive(self._port):
                for pid, _ in local.family(node):
                    title = Path(f"/proc/{pid}/cmdline")
                    name = title.read_text() if title.exists() else ""
                    if name.startswith((f"ray::{NAME}", f"ray::packs of {NAME}")):
                        found.append((name, pid))
            if found:
                return self._rng.choice(sorted(found))[1]
            time.sleep(0.1)
        self._fail("nothing trains")
        raise AssertionError

    def _fail(self, why: str) -> None:
        said = (self._folder / f"driver-{self.drivers}.log").read_text()
        sys.exit(f"{why} after {sum(self.kills.values())} kills:\n{said}")


def attacked(pack: str, folder: Path, plan: Plan) -> Search:
    """A search on a cluster of its own, after all kills and at its end."""
    folder.mkdir()
    port = local.free_port()
    local.up(port, local.free_port(), plan.nodes, SHARE)
    try:
        search = Search(pack, port, folder, plan)
        try:
            search.attack()
        finally:
            search.end()
        search.calls_lost = calls_lost(local.folder(port))
    finally:
        local.down(port)
    return search


def calls_lost(folder: Path) -> int:
    """How many calls Ray's fault injection has lost, by the logs of all its processes."""
    logs = {log.resolve() for log in folder.glob("*/session_*/logs/**/*") if log.is_file()}
    return sum(log.read_bytes().count(b"Inject RPC") for log in logs)


def verdict(search: Search) -> tuple[list[str], list[str]]:
    """The row of the table, and everything that is wrong."""
    left = Left(search.run, search.trials)
    counts = left.results.counts()
    checks = [left.lost(), left.twice(), left.gaps(), left.repeats(), left.study(), left.wandb(), left.best()]
    row = [*(str(search.kills[kind]) for kind in dict.fromkeys(KILLS)), str(search.drivers), str(search.trials)]
    row += [f"{counts['complete']} + {counts['pruned']}", str(left.results.epochs), *(str(len(check)) for check in checks)]
    return row, [fault for check in checks for fault in check]


def table(rows: list[list[str]], about: str) -> str:
    head = ["packs", "kills: trains", "driver", "node", "drivers", "trials", "complete + pruned", "epochs"]
    head += ["trials lost", "trials twice", "epochs missing", "epochs twice", "study", "W&B", "best"]
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    kills = sum(int(cell) for row in rows for cell in row[1:4])
    return f"{BEGIN}\n{text}\n\n{kills} kills, {about}. The last seven columns count faults.\n{END}"


def write(path: Path, text: str) -> None:
    """Puts the table where its markers are."""
    page = path.read_text()
    before, _, rest = page.partition(BEGIN)
    path.write_text(before + text + rest.partition(END)[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between its markers there")
    parser.add_argument("--packs", choices=["off", "2"], nargs="+", default=["off", "2"])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--node-kills", type=int, metavar="N", help="kill so many nodes, and nothing else")
    parser.add_argument("--rpc-failures", type=int, default=0, metavar="PERCENT", help="lose so many of Ray's requests, and of its answers")
    given = parser.parse_args()
    plan = Plan(seed=given.seed, nodes=given.nodes)
    if given.node_kills is not None:
        plan = replace(plan, kills=(NODE,) * given.node_kills, trials=max(TRIALS, 2 * given.node_kills))
    began, at, rows, wrong, lost_calls = time.monotonic(), commit(), [], [], 0
    scratch = Path(tempfile.mkdtemp(prefix="chaos-"))
    # Nobody's own token, and the mode for a driver that imports Ray before it joins.
    os.environ |= {"RAY_AUTH_TOKEN_PATH": f"{scratch}/token", "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if given.rpc_failures:
        lost = {"num_failures": -1, "req_failure_prob": given.rpc_failures, "resp_failure_prob": given.rpc_failures}
        os.environ["RAY_testing_rpc_failure"] = json.dumps({"*": lost})  # noqa: SIM112 (Ray reads this spelling)
    for pack in given.packs:
        print(f"packs {pack}, in {scratch / pack}", flush=True)
        search = attacked(pack, scratch / pack, plan)
        row, faults = verdict(search)
        rows.append([pack, *row])
        lost_calls += search.calls_lost
        wrong += [f"packs {pack}: {fault}" for fault in faults]
    minutes = (time.monotonic() - began) / 60
    about = f"seed {given.seed}, {given.nodes} nodes"
    if given.rpc_failures:
        about += f", {given.rpc_failures} % of the requests between Ray's processes lost, and of the answers: {lost_calls:,} in all"
    text = table(rows, f"{about}, {minutes:.0f} minutes on {os.cpu_count()} cores, commit {at}")
    print(text, *wrong, sep="\n")
    if given.write:
        write(given.write, text)
    if wrong:
        sys.exit(f"{len(wrong)} faults; what the searches left is in {scratch}")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
