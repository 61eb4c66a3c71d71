"""What no GPU is needed to find: an update that leaves the device, or asks it for a value. The mistakes stand where no other check looks,
in a `Replace`, and in a loss."""

from pathlib import Path

import pytest

from tuner import layout
from tuner.model import Model
from tuner.testing import Broken, load
from tuner.testing.checks import CHECKS

(CHECK,) = (one for one in CHECKS if one.name == "its steps stay on the device")
START = (layout.folder("models") / "_template.py").read_text()
KEPT = (
    ("Clusters, Descend,", "Clusters, Descend, Replace,"),
    ("(together,), start=", "(together, Replace(self.keep)), start="),
    ("    def place(", "    def keep(self, net, batch, h, noise):\n        LINE\n\n    def place("),
)


def with_line(folder: Path, line: str, *changes: tuple[str, str]) -> Model:
    text = START
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    file = folder / "my_model.py"
    file.write_text(text.replace("LINE", line))
    return load(file)


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("return {'centers_KZ': net.centers_KZ * net.centers_KZ.sum().item()}", r"take \.item\(\) and the like away"),
        ("return {'centers_KZ': net.centers_KZ if net.centers_KZ.sum() > 0 else -net.centers_KZ}", r"torch\.where in place of `if`"),
        ("return {'centers_KZ': net.centers_KZ + torch.ones(h.n_clusters, h.latent_dim)}", r"x_BD\.new_zeros\(3\)"),
        (
            "return {'centers_KZ': net.centers_KZ + net.encoder(batch.x_BD[batch.x_BD[:, 0] > 0]).mean(0)}",
            r"torch\.where in place of x\[mask\]",
        ),
    ],
    ids=["a value", "a branch", "a tensor of the CPU", "rows by a condition"],
)
def test_a_mistake_in_an_update_that_returns_values(tmp_path: Path, line: str, remedy: str) -> None:
    model = with_line(tmp_path, line, *KEPT)
    with pytest.raises(Broken, match=remedy) as raised:
        CHECK(model)
    place = raised.value.place
    assert place is not None and Path(place.file).name == "my_model.py" and place.text.strip() == line


@pytest.mark.parametrize("line", ["z_BZ[z_BZ.sum(-1) > 0]", "z_BZ + torch.ones(1, h.latent_dim)", "z_BZ * z_BZ.sum().item()"])
def test_a_mistake_in_a_loss(tmp_path: Path, line: str) -> None:
    before = "nearest_B = sq_dist(z_BZ, net.centers_KZ)"
    with pytest.raises(Broken) as raised:
        CHECK(with_line(tmp_path, line, (before, "nearest_B = sq_dist(LINE, net.centers_KZ)")))
    assert raised.value.place is not None and line in raised.value.place.text


def test_an_update_that_stays(tmp_path: Path) -> None:
    CHECK(with_line(tmp_path, "return {'centers_KZ': torch.where(net.centers_KZ > 0, net.centers_KZ, 0.0)}", *KEPT))
