"""A search's figures as the node's Prometheus endpoint gives them."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
from kit.resumed import one_at_a_time

from tuner.cli.app import main
from tuner.cli.options import DONE
from tuner.machines.cluster import Cluster
from tuner.runs.states import STATES
from tuner.service.driver import SearchOptions, search
from tuner.space.reader import read_space

ANSWER_S = 300  # Ray exports every 10 s


def scraped(run: str) -> dict[str, float]:
    """The endpoint's figures of one search, by their names and labels as they stand there."""
    import ray

    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    text = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60).read().decode()
    found = {}
    for name, labels, value in re.findall(r"^(ray_tuner_\w+)\{(.*?)\} (\S+)$", text, re.M):
        if f'run="{run}"' not in labels.split(","):
            continue  # of another search on the same Ray
        kept = sorted(part for part in labels.split(",") if part.split("=")[0] in ("run", "state", "metric"))
        found[f"{name}{{{','.join(kept)}}}"] = float(value)
    return found


def expected(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The same, from what `tuner show --json` says of a search that has ended."""
    capsys.readouterr()
    assert main(["show", str(folder), "--json"]) == DONE
    summary = json.loads(capsys.readouterr().out)
    run = f'run="{summary["name"]}"'
    figures = {f'ray_tuner_trials{{{run},state="{state}"}}': summary["trials"][state] for state in STATES}
    figures[f'ray_tuner_trials{{{run},state="running"}}'] = 0
    figures[f"ray_tuner_epochs_total{{{run}}}"] = summary["epochs"]
    figures[f"ray_tuner_epochs_per_second{{{run}}}"] = 0
    figures[f'ray_tuner_best{{metric="{summary["metric"]}",{run}}}'] = summary["best"]["metrics"][summary["metric"]]
    return figures


def agree(run: str, wanted: dict[str, float]) -> None:
    deadline, found = time.monotonic() + ANSWER_S, scraped(run)
    while found != wanted and time.monotonic() < deadline:
        time.sleep(1)
        found = scraped(run)
    assert found == wanted


@pytest.mark.slow
def test_prometheus_is_given_the_figures_that_show_gives(tmp_path: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    spec = read_space(str(one_at_a_time(tmp_path)))  # side by side, it would be luck which trials are pruned
    outcome = search(spec, SearchOptions(out=tmp_path, name="prometheus"))
    ends = outcome.results.counts()
    assert ends["pruned"] and ends["complete"]
    agree("prometheus", expected(outcome.folder, capsys))
