"""The page that a search ends with: written where it is asked for, and never what makes a finished search fail."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from kit.journals import write_run

from tuner.errors import UserError
from tuner.report.write import REPORT
from tuner.search.saved import spec_of
from tuner.service.page import page_at_end
from tuner.space.reader import Options, read_space

SPACE = "model: kmeans\ndataset: digits\nmetric: {name: acc}\nparameters: {n_clusters: {values: [7, 10]}}\n"


def test_a_search_that_is_done_ends_with_a_page_unless_its_space_or_a_flag_says_otherwise(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 6, 3)
    assert page_at_end(folder, "stopped") is None and not (folder / REPORT).exists()
    page = page_at_end(folder, "done", wandb="online")
    assert page is not None and page.file == folder / REPORT and page.said == [], "W&B was not told of it"
    assert (folder / "report.md").is_file()
    assert page_at_end(write_run(tmp_path / "no", 6, 3, report=False), "done") is None

    (tmp_path / "space.yaml").write_text(SPACE)
    spec = read_space(str(tmp_path / "space.yaml"), options=Options(report=False, mlflow=True))
    assert spec.key("report") is False and read_space(str(tmp_path / "space.yaml")).key("report") is True
    again = tmp_path / "again"
    again.mkdir()
    (again / "space.yaml").write_text(spec.text)
    began = {"space": spec.name, "dataset_at": "digits", "versions": {"tuner": "0.1"}, "id": "0" * 16, "options": dict(spec.options)}
    (again / "spec.json").write_text(json.dumps(spec.resolved() | began))
    (again / "status.json").write_text(json.dumps({"status": "stopped", "started": 0.0}))
    (again / "results.jsonl").touch()
    goes_on = spec_of(again, None, None)
    assert goes_on.key("report") is False and goes_on.key("mlflow") == spec.key("mlflow") is not None, "a run goes on as it began"

    (tmp_path / "space.yaml").write_text(SPACE + "report: maybe\n")
    with pytest.raises(UserError, match=r"space\.yaml:5: 'report' must be true or false, but got 'maybe'\."):
        read_space(str(tmp_path / "space.yaml"))


def test_a_page_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_run(tmp_path / "run", 3, 2)
    (folder / REPORT).mkdir()
    with caplog.at_level(logging.WARNING, "tuner"):
        assert page_at_end(folder, "done") is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("There is no page about run: ") and "is a folder" in said and said.endswith("To write it: tuner report run")
