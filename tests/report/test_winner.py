"""The winner in pictures: what they are made of, what they show, and what is said where there are none."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from kit.journals import write_run
from kit.winners import with_winner
from PIL import Image
from sklearn.datasets import load_wine

import tuner as api
from tuner.agreement import acc
from tuner.api.train import Training
from tuner.data.datasets import DatasetSpec, load
from tuner.inference.assign import Assigner
from tuner.inference.clustered import Clustered, clustered
from tuner.report.course import by_epoch
from tuner.report.figure import Figure, Section
from tuner.report.generated import Drawing, cannot, learned, modes
from tuner.report.maps import in_the_plane, maps
from tuner.report.marks import confusion, differences
from tuner.report.png import png
from tuner.report.tiles import GAP, Range, Tiles, image_shape, sprite, tiled
from tuner.report.winner import largest, nearest_samples, pictures, scale_of, winner_figures, winner_sections
from tuner.report.write import write_report
from tuner.runs.course import Moment, read_course, write_course
from tuner.training.codes import subsample_of, subsample_rows

needs_images = pytest.mark.skipif(not os.environ.get("TUNER_DATA"), reason="TUNER_DATA names no folder with the real MNIST and USPS")
DIGITS = DatasetSpec(name="digits", limit=300)


def trained(model: str, **settings: Any) -> Training:
    return api.train(model, limit=300, seed=1, set=settings)


def a_run(folder: Path, training: Training, dataset: dict[str, Any]) -> Path:
    write_run(folder, 1, 2, model=training.model.name, dataset={"limit": None, "scale": None, **dataset})
    return with_winner(folder, training, dataset)


@pytest.fixture(scope="module")
def dec() -> Training:
    return trained("dec", hidden=32, latent_dim=5, pretrain_epochs=2, epochs=2)


@pytest.fixture(scope="module")
def found(dec: Training) -> Clustered:
    data = load(DIGITS)
    z_SZ = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    return clustered(Assigner(dec.snapshot), data, [Moment(epoch=1, c_S=np.arange(300) % 10, z_SZ=z_SZ)])


def test_the_arrays_are_trainings_own(dec: Training, found: Clustered) -> None:
    assert dec.labels is not None
    np.testing.assert_array_equal(found.cluster_N, dec.labels)
    assert found.confusion_KC is not None
    assert acc(found.confusion_KC) == pytest.approx(dec.metrics["acc"])
    assert sum(found.confusion_KC[k, c] for k, c in found.matched.items()) / 300 == pytest.approx(dec.metrics["acc"])
    x_ND = load(DIGITS).x_ND.numpy()
    for k in np.unique(found.cluster_N):
        mine = np.flatnonzero(found.cluster_N == k)
        np.testing.assert_allclose(found.means()[k], x_ND[mine].mean(axis=0), atol=1e-5)
        near = found.nearest(int(k), 3)
        assert set(near) <= set(mine.tolist()) and (np.diff(found.rank_N[near]) >= 0).all()
        assert found.rank_N[near[0]] == found.rank_N[mine].min()


def test_every_figure_says_what_it_draws(found: Clustered) -> None:
    by_cluster, by_class = maps(found)
    assert by_cluster.count == "300 of 300 samples drawn" and len(by_cluster.rows or ()) == 300
    assert sum(len(trace["x"]) for trace in by_cluster.traces) == sum(len(trace["x"]) for trace in by_class.traces) == 300
    assert "t-SNE of scikit-learn" in by_cluster.note
    course = by_epoch(found)
    assert course is not None and sum(len(trace["x"]) for trace in course.traces) == 1200  # two epochs, by cluster and by class
    table = confusion(found)
    assert table is not None and table.rows is not None
    assert sum(sum(row[1:]) for row in table.rows) == table.drawn == 300
    near = nearest_samples(drawing(found))
    assert near.drawn == near.of == len(np.unique(found.cluster_N)) and near.rows is not None
    clusters = {(row[0], found.cluster_N[row[2]]) for row in near.rows if row[2] is not None}
    assert all(str(k) == label for label, k in clusters)


def drawing(found: Clustered) -> Drawing:
    return Drawing(found=found, clusters=largest(found), scale=scale_of(found))


@pytest.mark.parametrize(
    ("model", "settings", "names"),
    [
        ("dec", {"hidden": 16, "latent_dim": 3, "pretrain_epochs": 1, "epochs": 1}, ["reconstructions", "interpolations"]),
        ("aae_unsup", {"hidden": 32, "epochs": 1}, ["reconstructions", "interpolations", "styles", "generated"]),
        ("infogan", {"hidden": 32, "epochs": 1}, ["styles", "generated"]),
        ("kmeans", {"epochs": 1}, []),
    ],
)
def test_a_model_shows_what_it_can_and_says_what_it_cannot(model: str, settings: dict[str, Any], names: list[str]) -> None:
    training = trained(model, **settings)
    found = clustered(Assigner(training.snapshot), load(DIGITS))
    figures = list(learned(drawing(found)))
    assert [figure.name for figure in figures] == names
    said = " ".join(cannot(found))
    assert ("does not decode" in said) == ("reconstructions" not in names)
    assert ("generates no samples" in said) == (model == "kmeans") and ("has no style" in said) == (model == "dec")
    used = len(np.unique(found.cluster_N))
    assert all(figure.drawn == used for figure in figures)
    assert ("mode" in nearest_samples(drawing(found)).note) == (model != "kmeans")
    if "reconstructions" in names:
        x_RD = found.samples(np.arange(5))
        again_RD = found.assigner.decoded(found.assigner.encoded(x_RD))
        assert again_RD is not None and again_RD.shape == x_RD.shape


def test_a_style_of_nothing_is_the_mode_and_an_interpolation_ends_in_reconstructions() -> None:
    found = clustered(Assigner(trained("aae_unsup", hidden=32, epochs=1).snapshot), load(DIGITS))
    made = {figure.name: figure for figure in learned(drawing(found))}
    clusters = largest(found)
    mode_PD = modes(found, clusters)
    assert mode_PD is not None
    assert pixels_of(made["styles"])[4] == pixels(mode_PD[0])  # the middle of nine steps
    again_PD = found.assigner.decoded(found.assigner.encoded(found.samples(np.array([found.nearest(k, 1)[0] for k in clusters]))))
    assert again_PD is not None
    assert pixels_of(made["interpolations"])[0] == pixels(again_PD[0])
    if len(clusters) > 1:
        assert pixels_of(made["interpolations"])[8] == pixels(again_PD[1])


def pixels_of(figure: Figure) -> list[str]:
    assert figure.rows is not None
    return [row[-1] for row in figure.rows]


def pixels(x_D: Any) -> str:
    return " ".join(map(str, np.rint(np.clip(x_D.astype(np.float64), 0, 1) * 255).astype(int).tolist()))


def test_without_labels_nothing_is_said_of_classes(dec: Training) -> None:
    data = load(DIGITS)
    found = clustered(Assigner(dec.snapshot), type(data)(name="x", x_ND=data.x_ND, y_N=None, shape=data.shape))
    sections = list(pictures(found))
    names = [figure.name for section in sections for figure in section.figures]
    assert names[:2] == ["map-by-cluster", "sizes"] and "map-by-class" not in names and "confusion" not in names
    rows = sections[0].figures[1].rows
    assert rows is not None and [row[1] for row in rows] == found.size_K.tolist()
    assert "Only the end of the training was kept" in sections[0].text[0]


def test_a_training_writes_its_pictures_and_gives_them_as_figures(tmp_path: Path, tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--set", "hidden=32", "--set", "latent_dim=3", "--set", "pretrain_epochs=1", "--epochs", "6", "--limit", "256")
    code, said, _ = tuner("train", "dec", "--plots", *words)
    assert code == 0 and "Pictures: dec-digits.html (" in said
    text = (tmp_path / "dec-digits.html").read_text()
    assert "dec on digits" in text and "The winner" not in text
    training = api.train("dec", limit=256, epochs=6, set={"hidden": 32, "latent_dim": 3, "pretrain_epochs": 1})
    figures = training.figures
    assert {"map-by-cluster", "map-by-epoch", "confusion", "reconstructions"} <= set(figures)
    assert [note.text for note in figures["map-by-epoch"].layout.annotations if "epoch" in note.text] == ["epoch 1", "epoch 5", "epoch 6"]
    assert training.plots(tmp_path / "again.html").read_text().partition("<footer>")[0] == text.partition("<footer>")[0]


def test_columns_in_memory_keep_their_names() -> None:
    pandas = pytest.importorskip("pandas")
    wine = load_wine()
    table = pandas.DataFrame(wine.data, columns=wine.feature_names)
    training = api.train("kmeans", data=table, labels=wine.target, scale="standard", set={"n_clusters": 3, "epochs": 2})
    assert "proline" in training.figures["marks"].layout.yaxis.ticktext
    assert training.figures["confusion"].data[0].z is not None


def test_a_course_is_read_as_it_was_written_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    moments = [Moment(epoch=n, c_S=rng.integers(0, 3, 40), z_SZ=rng.normal(size=(40, 2)).astype(np.float32)) for n in (1, 20, 5)]
    path = tmp_path / "best.course.safetensors"
    write_course(path, moments)
    read = read_course(path)
    assert [one.epoch for one in read] == [1, 5, 20]
    np.testing.assert_array_equal(read[1].z_SZ, moments[2].z_SZ)
    np.testing.assert_array_equal(read[1].c_S, moments[2].c_S)
    path.write_bytes(path.read_bytes()[:100])
    assert read_course(path) == read_course(tmp_path / "nothing") == []


def test_long_codes_are_kept_of_fewer_samples_the_first_of_the_same() -> None:
    data = load(DIGITS)
    training = trained("infogan", hidden=512, epochs=1)
    about = (training.model, training.model.hyper(training.config), data, training.snapshot)
    whole, few = subsample_of(*about), subsample_of(*about, 512 * 100)
    assert whole[1].shape == (300, 512) and few[1].shape == (100, 512)
    at = np.searchsorted(subsample_rows(300).numpy(), subsample_rows(300, 100).numpy())
    np.testing.assert_array_equal(whole[1][at], few[1])
    np.testing.assert_array_equal(whole[0][at], few[0])


def test_maps_keep_what_is_near_and_small_codes_are_drawn_as_they_are() -> None:
    rng = np.random.default_rng(0)
    c_S = np.arange(90) % 3
    z_SZ = (20 * np.eye(3, 6)[c_S] + rng.normal(size=(90, 6))).astype(np.float32)
    first = in_the_plane(z_SZ)
    centres = np.stack([first[c_S == k].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(first[:, None] - centres, axis=-1).argmin(axis=1)
    assert (nearest == c_S).all()
    np.testing.assert_array_equal(first, in_the_plane(z_SZ))
    again = in_the_plane(z_SZ + 0.01, first, 500)
    assert np.isfinite(again).all()
    np.testing.assert_array_equal(in_the_plane(z_SZ[:, :2]), z_SZ[:, :2])
    np.testing.assert_array_equal(in_the_plane(z_SZ[:, :1])[:, 0], z_SZ[:, 0])


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)], ids=["grey", "colour"])
def test_the_tiles_are_the_images(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).random((2, 3, *shape))
    images[1, 2] = np.nan
    pixels, step_y, step_x = sprite(images)
    read = np.array(Image.open(io.BytesIO(png(pixels))))
    np.testing.assert_array_equal(read, pixels)
    zoom = (step_x - GAP) // 4
    one = np.moveaxis(images[1, 1], 0, -1) if len(shape) == 3 else images[1, 1, ..., None]
    tile = read[step_y : step_y + 5 * zoom : zoom, step_x : step_x + 4 * zoom : zoom]
    np.testing.assert_array_equal(tile[..., :-1], np.rint(one * 255))
    assert (tile[..., -1] == 255).all() and (read[step_y:, 2 * step_x :, -1] == 0).all()
    figure = tiled(Tiles(images=images, rows=["0", "1"], columns=["", "", ""]), name="x", title="x", of=2)
    assert figure.rows is not None and len(figure.rows) == 5
    assert base64.b64decode(figure.traces[0]["source"].partition(",")[2]) == png(pixels)


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 3, 5, 4)], ids=["grey", "colour"])
def test_a_film_is_some_of_its_frames_side_by_side_or_the_one_in_the_middle(shape: tuple[int, ...]) -> None:
    x_D = np.arange(2 * np.prod(shape), dtype=np.float64).reshape(2, -1) / 1000
    film = x_D.reshape(2, *shape)
    np.testing.assert_array_equal(Range(0, 1).images(x_D, shape), film[:, 3])
    np.testing.assert_array_equal(Range(0, 1).images(x_D, shape, 4), np.concatenate([film[:, t] for t in (0, 2, 3, 5)], axis=-1))
    assert image_shape(shape) == shape[1:] and image_shape((6, 3, 3)) is None and image_shape((6, 2, 8, 8)) is None


def test_the_page_of_films_shows_each_clusters_as_films(tmp_path: Path) -> None:
    films = {"name": "moving_digits", "limit": 60}
    training = api.train("kmeans", dataset="moving_digits", limit=60, set={"n_clusters": 3, "epochs": 3})
    sections = winner_sections(a_run(tmp_path / "run", training, films))
    said, near = next((section.text, figure) for section in sections for figure in section.figures if figure.name == "nearest-samples")
    assert any(text.startswith("Of a film the nearest samples show frames from its first to its last") for text in said)
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(near.traces[0]["source"].partition(",")[2]))))
    assert pixels.shape[:2] == (3 * (16 + GAP) - GAP, 3 * (4 * 16 + GAP) - GAP)  # a mean and two films, four frames each


def test_what_marks_a_cluster_is_named_by_its_column(tmp_path: Path) -> None:
    wine = load_wine()
    lines = [",".join(wine.feature_names), *(",".join(map(str, row)) for row in wine.data.tolist())]
    (tmp_path / "wine.csv").write_text("\n".join(lines) + "\n")
    dataset = {"name": f"csv:{tmp_path / 'wine.csv'}", "scale": "standard"}
    training = api.train("kmeans", dataset=dataset["name"], scale="standard", set={"n_clusters": 3, "epochs": 3})
    sections = winner_sections(a_run(tmp_path / "run", training, dataset))
    table = next(table for section in sections for table in section.tables)
    assert [table.head[i] for i in table.words] == ["what marks it", "nearest"]
    assert len(table.rows) == 3 and "flavanoids −" in " ".join(row[2] for row in table.rows)
    figure = next(figure for section in sections for figure in section.figures if figure.name == "marks")
    assert "proline" in figure.columns and figure.count == "13 of 13 columns drawn"
    x_ND = (wine.data - wine.data.mean(0)) / wine.data.std(0)
    assert training.labels is not None
    found = clustered(Assigner(training.snapshot), load(DatasetSpec(**dataset)))
    inside = x_ND[training.labels == 0].mean(0) - x_ND[training.labels != 0].mean(0)
    np.testing.assert_allclose(differences(found)[0], inside, atol=1e-4)


@needs_images
@pytest.mark.slow
def test_the_winner_of_usps_is_seen_in_pictures_of_sixteen_pixels(tmp_path: Path) -> None:
    dataset = {"name": "usps", "limit": 500}
    training = api.train("aae_unsup", dataset="usps", limit=500, seed=1, set={"hidden": 64, "epochs": 2})
    run = a_run(tmp_path / "run", training, dataset)
    text = write_report([run]).page.read_text()
    assert "500 of 500 samples drawn" in text and "The pictures are of trial 0" in text
    made = {figure.name: figure for figure in winner_figures(run)}
    assert set(made) == {
        *("map-by-cluster", "map-by-class", "confusion", "nearest-samples", "reconstructions", "interpolations", "styles", "generated")
    }
    assert all(len(line.split()) == 256 for line in pixels_of(made["reconstructions"]))
    x_ND = load(DatasetSpec(**dataset)).x_ND.numpy()
    shown = [row for row in made["nearest-samples"].rows or () if row[2] is not None]
    assert shown and all(row[-1] == pixels(x_ND[row[2]]) for row in shown)


def test_the_winner_stands_in_the_page_and_where_it_cannot_a_line_says_why(dec: Training, tmp_path: Path) -> None:
    dataset = {"name": "digits", "limit": 300}
    run = a_run(tmp_path / "run", dec, dataset)
    text = write_report([run]).page.read_text()
    assert "The winner" in text and "data:image/png;base64" in text and "The pictures are of trial 0" in text
    assert {"map-by-cluster", "map-by-class", "confusion", "nearest-samples"} <= {one.name for one in winner_figures(run)}
    assert {one.name for one in winner_figures(run)} <= set(api.Run(run).figures)
    (run / "best.safetensors").unlink()
    assert says(winner_sections(run)).startswith("There are no pictures of the winner, whose weights are not here: tuner train ")
    assert "best.yaml --plots" in says(winner_sections(run))
    torch.save({}, run / "best.safetensors")
    assert "is not a checkpoint of tuner, or it is damaged" in says(winner_sections(run))
    dec.save(run / "best.safetensors")
    best = yaml.safe_load((run / "best.yaml").read_text())
    (run / "best.yaml").write_text(yaml.safe_dump({**best, "dataset": {"name": "csv:gone.csv"}}))
    assert "There are no pictures of the winner: " in says(winner_sections(run)) and "gone.csv" in says(winner_sections(run))
    assert json.loads((run / "spec.json").read_text())["model"] == "dec"


def says(sections: Any) -> str:
    (section,) = sections
    assert isinstance(section, Section) and not section.figures
    return str(section.text[0])
