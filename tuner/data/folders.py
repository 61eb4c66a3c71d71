"""A folder of images, `images:FOLDER`: the folders in it are the classes, or there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tuner.errors import UserError, first_line

from .raw import NO_LABELS, Columns, Raw

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def read_images(path: Path, wanted: Columns) -> Raw:
    """Grey images (N, h, w), or coloured ones (N, 3, h, w), values from 0 to 1, in the order of their paths.

    Raises:
        UserError: there is no image, one is damaged, or they differ in size.
    """
    if not path.is_dir():
        raise UserError(f"{path} must be a folder of images.")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and not file.name.startswith("."))
    if len(files) < 2:
        raise UserError(f"{path}: at least 2 images are needed ({', '.join(ENDINGS)}), but it holds {len(files)}.")
    images = [_read(file) for file in files]
    grey = wanted.colours == "grey" or (wanted.colours is None and all(image.mode == "L" for image in images))
    if wanted.size is not None:
        images = [_sized(image if grey and image.mode == "L" else image.convert("RGB"), wanted.size) for image in images]
    sizes = {image.size: file for image, file in zip(images, files, strict=True)}
    if len(sizes) > 1:
        shown = ", ".join(f"{w}x{h} ({file.relative_to(path)})" for (w, h), file in list(sizes.items())[:3])
        raise UserError(f"{path}: all images must have one size, but there are {shown}. Say size: 32 or size: [height, width].")
    x_N = np.stack([np.asarray(image.convert("L" if grey else "RGB")) for image in images])
    if not grey:
        x_N = np.ascontiguousarray(x_N.transpose(0, 3, 1, 2))
    places = [file.relative_to(path).parts[:-1] for file in files]
    labelled = wanted.label != NO_LABELS and all(places) and len({place[0] for place in places}) > 1
    y_N = np.array([place[0] for place in places]) if labelled else None
    skipped = sum(file.is_file() and file.suffix.lower() not in ENDINGS for file in path.rglob("*"))
    h, w = x_N.shape[-2:]
    notes: tuple[str, ...] = (
        f"{len(files):,} {'grey' if grey else 'coloured'} images of {h}x{w}" + (", the folders are the classes" if labelled else ""),
    )
    if skipped:
        notes = (*notes, f"{skipped:,} other files are left out")
    return Raw(x_N=x_N, y_N=y_N, peak=255.0, notes=notes)


def _sized(image: Any, size: int | tuple[int, int]) -> Any:
    from PIL import Image

    height, width = (size, size) if isinstance(size, int) else size
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def _read(file: Path) -> Any:
    """8 bits for each colour: grey as `L`, anything else as `RGB`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            image.load()
            if image.mode.startswith("I") or image.mode == "F":
                raise UserError(f"{file} has more than 8 bits for a pixel, mode {image.mode}. Write the values into an npz.")
            return image.copy() if image.mode == "L" else image.convert("L" if image.mode in ("1", "LA") else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{file} is no image, or is damaged: {first_line(error)}.") from error
