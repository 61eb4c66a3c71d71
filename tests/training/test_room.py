"""What a training needs of memory is known before it begins; what the machine has not is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit.commands import SPACE

import tuner
from tuner.model import DataSpec, load_model
from tuner.training import room
from tuner.training.room import check_room, needed, of_machine

GB = 1e9


@pytest.mark.parametrize("name", ["idec", "vade", "gmm", "aae_unsup", "kmeans"])
def test_a_million_rows_of_64_features_need_less_than_6_gib(name: str) -> None:
    model, data = load_model(name), DataSpec(n_samples=1_000_000, shape=(64,), n_classes=10)
    assert 1 * GB < needed(model, model.hyper({}), data) < 6 * 2**30
    more = model.hyper({"n_clusters": 200})
    assert needed(model, more, data) > needed(model, model.hyper({}), data)


def test_what_a_machine_has_is_known_and_what_it_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.1 * GB < of_machine() < 1e6 * GB
    monkeypatch.setattr(room, "of_machine", lambda: 2_000_000_000)
    model = load_model("idec")
    check_room(model, model.hyper({}), DataSpec(n_samples=1797, shape=(64,), n_classes=10))
    with pytest.raises(tuner.UserError) as error:
        check_room(model, model.hyper({}), DataSpec(n_samples=5_000_000, shape=(64,), n_classes=10))
    assert str(error.value).startswith("idec would need about ") and "and this machine has 2 GB. Say 'limit' for fewer" in str(error.value)
    monkeypatch.setattr(room, "of_machine", lambda: 100_000_000)
    with pytest.raises(tuner.UserError, match=r"kmeans would need about 0.6.* GB of memory .1,797 samples of 64 features, 10 starts"):
        tuner.train("kmeans", dataset="digits", epochs=1)


def test_check_says_it_and_neither_check_nor_search_begins_what_the_machine_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuner: Callable, cluster: object
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(SPACE)
    code, out, err = tuner("check", "space.yaml")
    assert code == 0 and "GB" in out, out + err
    monkeypatch.setattr(room, "of_machine", lambda: 100_000_000)
    for words in (["check", "space.yaml"], ["search", "--space", "space.yaml", "--name", "s"]):
        code, out, err = tuner(*words)
        assert code == 2 and "of memory (" in err and "this machine has 0.1 GB. Say 'limit' for fewer samples" in err, out + err
    assert not Path("runs").exists()
