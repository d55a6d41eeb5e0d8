"""What loggers are given as images and tables, as ClearML takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clearml_taskgroup.errors import ArgumentError
from clearml_taskgroup.integrations import _media


def test_cells_are_what_json_can_hold() -> None:
    """Scalars of arrays as numbers, what is not finite as text, and everything else as its `repr`."""
    row = [np.float32(0.5), float("nan"), np.float64("inf"), True, "text", None, np.arange(2)]
    assert _media.table(None, [row], None) == [
        ["0", "1", "2", "3", "4", "5", "6"],
        [0.5, "nan", "inf", True, "text", "None", "array([0, 1])"],
    ]


def test_rows_have_the_width_of_the_header() -> None:
    """Without a header, that of the longest; the row that has not is named."""
    assert _media.table(["a", "b"], [[1, 2]], None) == [["a", "b"], [1, 2]]
    assert _media.table(["a"], [], None) == [["a"]]
    with pytest.raises(ArgumentError, match="rows of 2 values; this is row 1"):
        _media.table(None, [[1, 2], [3]], None)
    frame = object()
    assert _media.table(None, None, frame) is frame
    for data, dataframe in ((None, None), ([[1]], frame)):
        with pytest.raises(ArgumentError, match="rows, or dataframe= in their place"):
            _media.table(None, data, dataframe)


def test_boxes_have_their_labels_inside() -> None:
    black, box = np.zeros((30, 40), np.uint8), np.array([[2, 3, 30, 25]])
    plain = _media.with_boxes(black, box, None, 1)
    red = np.argwhere(plain[:, :, 0])
    assert plain.shape == (30, 40, 3)
    assert plain[:, :, 1:].max() == 0
    assert abs(red.min(axis=0) - (3, 2)).max() <= 1  # lines are two pixels wide
    assert abs(red.max(axis=0) - (25, 30)).max() <= 1
    labelled = _media.with_boxes(black, box, ["a"], 1)
    added = np.argwhere(labelled[:, :, 0] != plain[:, :, 0])
    assert added.size
    assert (added.min(axis=0) > (3, 2)).all()
    assert (added.max(axis=0) < (25, 30)).all()
    assert _media.with_boxes(black, box, None, 0.5).shape == (15, 20, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 5), (4, 5)),
        ((4, 5, 3), (4, 5, 3)),
        ((3, 4, 5), (4, 5, 3)),
        ((4, 5, 1), (4, 5)),
        ((4, 5, 4), (4, 5, 3)),
    ],
)
def test_colours_of_an_array_are_first_or_last(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """A single colour has no dimension; opacity is painted on white, as JPEG files have none."""
    (pixels,) = _media.image_arguments(np.zeros(shape)).values()
    assert (pixels.shape, pixels.max()) == (expected, 255 if shape[-1] == 4 else 0)


def test_pictures_of_pillow_become_pixels() -> None:
    """Also those with a palette, and half of the opacity on white."""
    picture = Image.new("RGBA", (3, 2), (0, 0, 0, 127))
    for image, value in ((picture, 128), (Image.new("P", (3, 2)), 0)):
        pixels = _media.image_arguments(image)["image"]
        assert (pixels.shape, set(pixels.ravel().tolist())) == ((2, 3, 3), {value})


@pytest.mark.parametrize("wrong", [np.zeros((5, 6, 7)), np.zeros(3), "no/such/file.png"])
def test_other_images_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="images"):
        _media.image_arguments(wrong)


def test_a_file_is_an_image_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert _media.image_arguments(tmp_path / "a.png") == {"local_path": str(tmp_path / "a.png")}


def test_precision_and_recall_are_those_at_even_thresholds() -> None:
    """A prediction counts from the highest threshold that it reaches downwards; weights count for it."""
    labels, predictions = np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.6])
    found, wrong, precision, recall = _media.pr_curve(labels, predictions, 6, None)
    assert found.tolist() == [2, 2, 2, 1, 1, 0]
    assert wrong.tolist() == [2, 1, 1, 1, 0, 0]
    assert precision.tolist() == pytest.approx([1 / 2, 2 / 3, 2 / 3, 1 / 2, 1, 0])
    assert recall.tolist() == [1, 1, 1, 0.5, 0.5, 0]
    heavy = _media.pr_curve(labels, predictions, 6, np.array([1, 3, 1, 1]))
    assert (heavy[0].tolist(), heavy[3].tolist()) == ([4, 4, 4, 3, 3, 0], [1, 1, 1, 0.75, 0.75, 0])
