"""`tuner new-model` and `tuner verify`: each mistake that is planted in a model's file is answered with its line and the remedy."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuner import layout
from tuner.errors import UserError
from tuner.model import model_names
from tuner.testing import CHECKS, Broken, load


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuner: Any) -> Path:
    """A model's file as `tuner new-model` writes it, in a folder with nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert tuner("new-model", "my_model.py")[0] == 0
    return tmp_path / "my_model.py"


def plant(file: Path, *changes: tuple[str, str]) -> int:
    """Changes the file; the line of the last change."""
    text = file.read_text()
    for before, after in changes:
        assert text.count(before) == 1, before
        at = text[: text.index(before)].count("\n") + 1
        text = text.replace(before, after)
    file.write_text(text)
    return at


def found(file: Path) -> list[Broken]:
    """What the checks find, but for the last, which starts a process."""
    model, broken = load(file), []
    for check in CHECKS[:-1]:
        try:
            check(model)
        except Broken as one:
            broken.append(one)
            if one.stops:
                break
    return broken


# --- new-model ---------------------------------------------------------------------------------------------------------


def test_the_start_is_short_commented_and_named_after_its_file(mine: Path, tuner: Any) -> None:
    code, out, _ = tuner("new-model", "deep_k.py")
    assert code == 0 and "tuner train deep_k --models deep_k.py" in out and "tuner verify deep_k.py" in out
    text = Path("deep_k.py").read_text()
    assert "class DeepK(Model):" in text and "MyModel" not in text
    assert len(text.splitlines()) <= 75 and text.count("#") >= 8
    ast.parse(text)


def test_the_start_is_no_model_of_tuner_s(tuner: Any) -> None:
    assert "_template" not in model_names() and "template" not in tuner("models")[1]
    with pytest.raises(UserError, match="There is no model '_template'"):
        load("_template")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_model.py", "my_model.py is there already, and is left as it is."),
        ("dec.py", "'dec' is a model that comes with tuner."),
        ("my-model.py", "my-model.py cannot be a model's file"),
        ("gone/mine.py", "gone/mine.py cannot be written: No such file or directory."),
    ],
)
def test_a_file_that_cannot_be_a_start_is_refused(mine: Path, tuner: Any, name: str, message: str) -> None:
    before = mine.read_text()
    code, _, err = tuner("new-model", name)
    assert code == 2 and message in err and mine.read_text() == before


def test_the_start_trains_and_is_described(mine: Path, tuner: Any) -> None:
    code, out, err = tuner("train", "my_model", "--models", "my_model.py", "--set", "pretrain_epochs=1", "--epochs", "1")
    assert (code, err) == (0, "") and out.count("epoch ") == 2
    assert "weights.compact" in tuner("describe", "my_model", "--models", "my_model.py")[1]


# --- planted mistakes --------------------------------------------------------------------------------------------------


def test_the_start_keeps_every_promise(mine: Path) -> None:
    assert found(mine) == []


def test_a_term_that_is_not_returned(mine: Path, tuner: Any) -> None:
    plant(mine, (', "compact": nearest_B.mean()}', "}"))
    line = next(i for i, text in enumerate(mine.read_text().splitlines(), 1) if '"compact": Term' in text)
    code, out, err = tuner("verify", "my_model.py")
    assert code == 2, err
    assert "FAILED  every term is declared, and returned by one update" in out
    assert f"my_model.py:{line}\n" in out and "`terms` has 'compact', but no update returns it." in out
    assert "Remedy: Return it: `return {…, 'compact': …}`; or take it out of `terms`." in out


def test_a_network_that_nobody_trains(mine: Path) -> None:
    plant(
        mine,
        ('together = Descend(self.draw_together, trains=("encoder", "decoder", "centers_KZ"))', "together = Descend(self.draw_together, "
         'trains=("encoder", "centers_KZ"))'),
        ('alone = Descend(self.autoencode, trains=("encoder", "decoder"))', 'alone = Descend(self.autoencode, trains=("encoder",))'),
    )  # fmt: skip
    line = next(i for i, text in enumerate(mine.read_text().splitlines(), 1) if '"decoder": mlp' in text)
    (broken,) = found(mine)
    assert broken.what == "No update trains the network 'decoder'."
    assert broken.place is not None and (broken.place.line, Path(broken.place.file).name) == (line, "my_model.py")
    assert "Name it in `trains=(…)`" in broken.remedy and "another one than it seems" in broken.means


def test_a_network_that_its_update_does_not_reach(mine: Path) -> None:
    plant(mine, ("mse(net.decoder(net.encoder(batch.x_BD)), batch.x_BD)", "mse(net.decoder(net.encoder(batch.x_BD).detach()), batch.x_BD)"))
    (broken, *_) = found(mine)
    assert broken.what == "The update 'autoencode' is to train 'encoder', but no term that it returns depends on it."
    assert ".detach()" in broken.remedy and broken.place is not None and "def autoencode" in broken.place.text


@pytest.mark.parametrize("asks", ["nearest_B.mean().item()", "float(nearest_B.mean())", "torch.tensor(nearest_B.detach().numpy()).mean()"])
def test_a_number_in_a_loss(mine: Path, asks: str) -> None:
    line = plant(mine, ("nearest_B.mean()", asks))
    (broken,) = found(mine)
    assert broken.place is not None and (broken.place.line, broken.place.function) == (line, "draw_together")
    assert "A tensor is asked for its value here" in broken.means and "take .item() and the like away" in broken.remedy


def test_a_choice_by_a_tensor_s_value(mine: Path) -> None:
    line = plant(mine, ("        nearest_B = ", "        if z_BZ.sum() > 0:\n            z_BZ = -z_BZ\n        nearest_B = "))
    (broken,) = found(mine)
    assert broken.place is not None and broken.place.line == line and "torch.where in place of `if`" in broken.remedy


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("z_BZ = net.encoder(batch.x_BD)\n", "z_BZ = net.encoder(batch.x_BD)\n        z_BZ = z_BZ + torch.randn_like(z_BZ)\n"),
        ("z_BZ = net.encoder(batch.x_BD)\n", "z_BZ = net.encoder(batch.x_BD)\n        z_BZ = z_BZ + torch.randn(z_BZ.shape)\n"),
        ("z_BZ = net.encoder(batch.x_BD)\n", "z_BZ = net.encoder(batch.x_BD)\n        z_BZ = torch.nn.functional.dropout(z_BZ, 0.1)\n"),
        ("        e_IKN = ", "        import numpy as np\n        np.random.rand(3)\n        e_IKN = "),
        ("        e_IKN = ", "        import random\n        random.random()\n        e_IKN = "),
    ],
    ids=["randn_like", "randn", "dropout", "numpy", "random"],
)
def test_a_draw_from_the_global_generator(mine: Path, before: str, after: str) -> None:
    plant(mine, (before, after))
    drawing = re.compile(r"randn|random\.rand|dropout\(")
    line = next(i for i, text in enumerate(mine.read_text().splitlines(), 1) if drawing.search(text))
    broken = found(mine)[0]
    assert broken.place is not None and broken.place.line == line, broken
    assert "global generator" in broken.means and "noise(h, data, B, g)" in broken.remedy


def test_a_shape_that_fits_other_data_only(mine: Path) -> None:
    line = plant(mine, ("mse(net.decoder(z_BZ), batch.x_BD)", "mse(net.decoder(z_BZ), batch.x_BD.view(-1, 784))"))
    (broken,) = found(mine)
    assert broken.place is not None and (broken.place.line, broken.place.function) == (line, "draw_together")
    assert "batch.x_BD (4, 16)" in broken.means and "D is data.n_features" in broken.remedy


def test_two_shapes_that_do_not_go_together(mine: Path, tuner: Any) -> None:
    line = plant(mine, ("mlp(Z, H, H, D)", "mlp(Z, H, H, Z)"))
    code, out, _ = tuner("verify", "my_model.py")
    out = " ".join(out.split())
    assert code == 2 and line and "in autoencode" in out and "batch.x_BD (4, 16)" in out
    assert "The shapes of these tensors do not go together." in out and "more checks wait until this is mended" in out


def test_state_that_is_kept_in_the_model(mine: Path) -> None:
    line = plant(mine, ("        nearest_B = ", "        self.last = 1\n        nearest_B = "))
    (broken,) = found(mine)
    assert broken.what == "It keeps `self.last`." and broken.place is not None and broken.place.line == line


def test_a_term_that_depends_on_another_s_weight(mine: Path) -> None:
    plant(mine, ('"compact": nearest_B.mean()}', '"compact": h.weights["compact"] * nearest_B.mean()}'))
    (broken,) = found(mine)
    assert "h has the fields of the class Hyper" in broken.means


def test_assignments_that_are_no_probabilities(mine: Path) -> None:
    plant(mine, ("return nearest(net.encoder(x_BD), net.centers_KZ)", "return -sq_dist(net.encoder(x_BD), net.centers_KZ)"))
    assert any("and not to 1" in broken.what and broken.place is not None for broken in found(mine))


DECLARED = {
    "an update returns a term that is not declared": (
        [('"compact": nearest_B.mean()}', '"compact": nearest_B.mean(), "tight": nearest_B.max()}')],
        "An update returns 'tight', which `terms` has not.",
    ),
    "two updates return one term": (
        [('"recon": mse(net.decoder(z_BZ), batch.x_BD), ', '"recon_ae": mse(net.decoder(z_BZ), batch.x_BD), "recon": z_BZ.mean(), ')],
        "Two updates return the term 'recon_ae'.",
    ),
    "two phases have one name": ([('Phase("cluster", ', 'Phase("pretrain", ')], "Two phases are named 'pretrain'."),
    "two updates of a phase have one name": (
        [('"epochs", (together,)', '"epochs", (together, together)')],
        "my_model has more than one update 'draw_together' in its phase 'cluster'.",
    ),
    "a default that its own range forbids": ([("lr: float = hp(1e-3, 0.0, 1.0", "lr: float = hp(3.0, 0.0, 1.0")], "lr"),
    "a tiny that has other clusters": ([('tiny = {"n_clusters": 3', 'tiny = {"n_clusters": 4')], "tiny has n_clusters=4, but must have 3."),
    "no tiny": ([("    tiny = {", "    small = {")], "It has no `tiny`."),
    "a weight that changes nothing": ([('"compact": nearest_B.mean()}', '"compact": nearest_B.mean().detach()}')], "weights.compact"),
}


@pytest.mark.parametrize(("changes", "what"), DECLARED.values(), ids=DECLARED)
def test_what_is_declared_wrongly_is_said(changes: list[tuple[str, str]], what: str, mine: Path, tuner: Any) -> None:
    plant(mine, *changes)
    code, out, err = tuner("verify", "my_model.py")
    assert code == 2 and "Traceback" not in out + err
    assert what in " ".join((out + err).split())


# --- elsewhere ---------------------------------------------------------------------------------------------------------


def verified(file: Path, **environment: str) -> str:
    """`tuner verify`, as typed in the file's folder."""
    words = [sys.executable, "-m", "tuner.cli", "verify", file.name]
    env = dict(os.environ) | {"PYTHONPATH": str(layout.ROOT)} | environment
    done = subprocess.run(words, cwd=file.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_an_import_that_fails_on_a_worker(mine: Path) -> None:
    library = mine.parent / "library"
    library.mkdir()
    (library / "my_losses.py").write_text("SLOPE = 1\n")
    line = plant(mine, ("import torch\n", "import torch\nfrom my_losses import SLOPE\n")) + 1
    out = verified(mine, PYTHONPATH=f"{layout.ROOT}{os.pathsep}{library}")
    assert "ok      three easy blobs are told apart" in out
    assert f"FAILED  a worker can import it\n        my_model.py:{line}\n            from my_losses import SLOPE" in out
    assert "A worker cannot import my_losses." in out and "Remedy: A file of your own: name it _my_losses.py" in out


def test_an_import_in_an_update_that_fails_on_a_worker_and_a_file_that_it_has_not(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine.parent / "scale.txt").write_text("1.0")
    start = mine.read_text()
    line = plant(mine, ("        nearest_B = ", '        open("scale.txt").close()\n        nearest_B = '))
    with pytest.raises(Broken) as broken:
        CHECKS[-1](load(mine))
    assert broken.value.place is not None and broken.value.place.line == line
    assert "A worker does not have a file that the model reads" in broken.value.what
    (mine.parent / "my_losses.py").write_text("SLOPE = 1\n")
    mine.write_text(start)
    line = plant(mine, ("        nearest_B = ", "        import my_losses\n\n        nearest_B = "))
    monkeypatch.syspath_prepend(str(mine.parent))
    with pytest.raises(Broken, match="A worker cannot import my_losses") as broken:
        CHECKS[-1](load(mine))
    assert broken.value.place is not None and broken.value.place.line == line


def test_an_import_that_fails_here_too_is_said_with_its_line(mine: Path, tuner: Any) -> None:
    line = plant(mine, ("import torch\n", "import torch\nimport nobody_has_this\n")) + 1
    code, _, err = tuner("verify", "my_model.py")
    assert code == 2 and f"my_model.py:{line}: ModuleNotFoundError" in err and "Install it, on every machine that trains." in err
