"""`tuner assign` on runs that are confirmed, old, or not whole."""

from pathlib import Path

import pytest
import yaml
from kit.trained import winner
from safetensors import safe_open
from safetensors.numpy import save_file


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return winner(tmp_path_factory.mktemp("kmeans"), scale="standard")


def changed(folder: Path, tmp_path: Path, header=lambda header: header) -> Path:
    """A copy of a winner with another header of its weights."""
    with safe_open(folder / "best.safetensors", framework="np") as file:
        tensors, before = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118 (no mapping)
    save_file(tensors, tmp_path / "best.safetensors", metadata=header(before))
    (tmp_path / "best.yaml").write_bytes((folder / "best.yaml").read_bytes())
    return tmp_path / "best.yaml"


def old(header):
    return {name: text for name, text in header.items() if name != "intake"}


def test_an_old_run_learns_its_scaling_again_from_its_data(best, tmp_path, tuner):
    copy = changed(best.parent, tmp_path, old)
    assert tuner("assign", str(copy), "-o", str(tmp_path / "new.csv"))[0] == 0
    assert tuner("assign", str(best), "-o", str(tmp_path / "old.csv"))[0] == 0
    assert (tmp_path / "new.csv").read_bytes() == (tmp_path / "old.csv").read_bytes()


def test_an_old_run_whose_data_are_others_says_so(best, tmp_path, tuner):
    copy = changed(best.parent, tmp_path, old)
    copy.write_text(copy.read_text().replace("limit: 700", "limit: 600"))
    code, _, err = tuner("assign", str(copy), "-o", str(tmp_path / "out.csv"))
    assert code == 2
    assert "written by an older tuner, which did not note how their data were scaled, and digits cannot say it either" in err
    assert "600 rows instead of 700" in err


def test_weights_that_are_not_there_or_another_trials_are_named(best, tmp_path, tuner):
    copy = changed(best.parent, tmp_path)
    copy.write_text(copy.read_text().replace("n_clusters: 3", "n_clusters: 4"))
    assert "are not of one trial: the weights were trained with n_clusters=3." in tuner("assign", str(copy), "-o", "out.csv")[2]


def test_weights_that_were_not_kept_say_what_to_do(best, tmp_path, tuner):
    copy = changed(best.parent, tmp_path)
    (tmp_path / "best.safetensors").unlink()
    code, _, err = tuner("assign", str(copy), "-o", "out.csv")
    assert code == 2 and "has no weights beside it" in err and "Copy best.safetensors of the run's folder there, too." in err
    (tmp_path / "spec.json").write_text("{}")
    code, _, err = tuner("assign", str(tmp_path), "-o", "out.csv")
    assert code == 2 and "has no weights of its best trial" in err and f"`tuner confirm {tmp_path.name}` keeps the weights" in err


def test_one_that_was_trained_in_tf32_gives_the_same_on_a_cpu_which_has_none(best, tmp_path, tuner):
    copy = changed(best.parent, tmp_path)
    assert "precision: fp32" in copy.read_text()
    copy.write_text(copy.read_text().replace("precision: fp32", "precision: tf32"))
    for file, to in ((best, "one.csv"), (copy, "other.csv")):
        assert tuner("assign", str(file), "-o", str(tmp_path / to))[0] == 0
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


def test_a_confirmed_winner_assigns_as_any_other(best, tmp_path, tuner):
    copy = changed(best.parent, tmp_path)
    figures = {"by": "the mean n_used on 3 fresh seeds", "mean": 3.0, "n": 3, "search_best": 4, "training": 2, "default": False}
    copy.write_text(copy.read_text() + yaml.safe_dump({"confirmed": figures}))
    assert tuner("assign", str(copy), "-o", str(tmp_path / "out.csv"))[0] == 0


def test_a_run_without_a_complete_trial_has_no_clusters(tmp_path, tuner):
    assert "There is no run 'runs/none'." in tuner("assign", "none", "-o", "out.csv")[2]
    (tmp_path / "spec.json").write_text("{}")
    code, _, err = tuner("assign", str(tmp_path), "-o", "out.csv")
    assert code == 2 and "has no best.yaml: none of its trials is complete yet" in err
