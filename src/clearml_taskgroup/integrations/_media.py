"""Converts arrays as TensorBoard's users give them to what ClearML can show: images, sound, video, curves."""

from __future__ import annotations

import contextlib
import io
import math
import os
import wave
from typing import TYPE_CHECKING, Any

from .._text import shown
from ..errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLOUR_CHANNELS = (1, 3, 4)
"""Numbers of an image's channels: grey, colours, colours with opacity."""
MAX_TEXT_CHARS = 10_000
"""The most characters of what is no text."""
MAX_CHANNELS = 8
"""The most channels of a sound whose array has two dimensions; the longer one is the time."""
MIN_COUNT = 1e-7
"""In place of a count of zero that something is divided by, as TensorBoard does it."""


def numbered(items: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Gives each item with what its series ends in: its place among several, nothing for a single one."""
    for place, item in enumerate(items):
        yield ("" if len(items) == 1 else f" {place}"), item


def as_array(values: Any) -> Any:
    """Converts numpy's arrays, lists, and tensors on any device."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if "bfloat16" in str(values.dtype):  # which numpy does not have
            values = values.float()
    return np.asarray(values)


def to_pixels(array: Any, formats: str) -> Any:
    """Converts an image to rows × columns × colours from 0 to 255; floats are taken to be from 0 to 1."""
    formats = formats.upper()
    if len(formats) != array.ndim or sorted(formats) not in (["C", "H", "W"], ["H", "W"]):
        raise ArgumentError("dataformats", formats, f"'HW', 'CHW' or the like, for {array.ndim} dimensions")
    array = _to_bytes(array.transpose([formats.index(letter) for letter in "HWC" if letter in formats]))
    if array.ndim == 3 and array.shape[2] not in COLOUR_CHANNELS:
        raise ArgumentError("img_tensor", array.shape, f"1, 3 or 4 colours where {formats!r} has C")
    if array.ndim == 3 and array.shape[2] == 4:
        return _on_white(array)
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _on_white(pixels: Any) -> Any:
    """Removes the opacity, which the JPEG files that ClearML writes cannot have."""
    import numpy as np

    opacity = pixels[:, :, 3:] / 255
    return np.rint(pixels[:, :, :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)


def _to_bytes(array: Any) -> Any:
    import numpy as np

    if array.dtype.kind == "f":
        array = np.nan_to_num(array) * 255
    elif array.dtype.kind == "b":
        array = array.astype(np.uint8) * 255
    return np.clip(array, 0, 255).astype(np.uint8)


def with_boxes(pixels: Any, boxes: Any, labels: Sequence[str] | None, rescale: float) -> Any:
    """Draws boxes, rows of left, top, right and bottom, on an image."""
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.fromarray(pixels).convert("RGB")
    draw = ImageDraw.Draw(image)
    for place, (left, top, right, bottom) in enumerate(boxes.reshape(-1, 4).tolist()):
        draw.line([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)], "red", 2)
        if labels is not None:
            draw.text((left + 3, top + 3), str(labels[place]), "red")
    if rescale != 1:
        image = image.resize((int(image.width * rescale), int(image.height * rescale)))
    return np.asarray(image)


def to_wav(sound: Any, sample_rate: int) -> io.BytesIO:
    """Converts a sound, of one channel or with a dimension for its channels, to a WAV file of 16 bits.

    Floats are taken to be from -1 to 1, integers to be samples of 16 bits.
    """
    import numpy as np

    array = np.atleast_1d(sound.squeeze())
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    if array.ndim > 2 or not array.size or (array.ndim == 2 and array.shape[1] > MAX_CHANNELS):
        raise ArgumentError("snd_tensor", sound.shape, "an array of samples, or of channels × samples")
    if array.dtype.kind == "f":
        array = np.clip(np.nan_to_num(array), -1, 1) * np.iinfo(np.int16).max
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1 if array.ndim == 1 else array.shape[1])
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(np.clip(array, -(2**15), 2**15 - 1).astype("<i2").tobytes())
    file.seek(0)
    return file


def to_gif(video: Any, fps: float, formats: str) -> io.BytesIO:
    """Converts videos, whose dimensions `formats` names, `NTCHW`, to one GIF that has them side by side."""
    import numpy as np
    from PIL import Image

    formats = formats.upper()
    if video.ndim != 5 or sorted(formats) != sorted("NTCHW") or 0 in video.shape:
        raise ArgumentError("vid_tensor", video.shape, "videos × frames × colours × height × width")
    if not fps > 0:
        raise ArgumentError("fps", fps, "a positive number")
    array = _to_bytes(video.transpose([formats.index(letter) for letter in "NTHWC"]))
    number, frames, height, width, colours = array.shape
    if colours not in COLOUR_CHANNELS:
        raise ArgumentError("vid_tensor", video.shape, f"1, 3 or 4 colours where {formats!r} has C")
    rows = 2 ** ((number.bit_length() - 1) // 2)  # the grid is that of TensorBoard
    columns = math.ceil(2 ** math.ceil(math.log2(number)) / rows)
    grid = np.zeros((rows * columns, frames, height, width, colours), np.uint8)
    grid[:number] = array
    grid = grid.reshape(rows, columns, frames, height, width, colours).transpose(2, 0, 3, 1, 4, 5)
    grid = grid.reshape(frames, rows * height, columns * width, colours)
    images = [Image.fromarray(frame[..., 0] if colours == 1 else frame).convert("RGB") for frame in grid]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    file.seek(0)
    return file


def pr_curve(labels: Any, predictions: Any, num_thresholds: int, weights: Any) -> tuple[Any, ...]:
    """Computes true and false positives, precision and recall at even thresholds, as TensorBoard does."""
    import numpy as np

    last = num_thresholds - 1
    positive, weights = labels.astype(float), 1.0 if weights is None else weights
    places = np.floor(predictions * last).astype(int)

    def at_least(weight: Any) -> Any:
        counts, _ = np.histogram(
            places, num_thresholds, (0, last), weights=np.broadcast_to(weight, places.shape)
        )
        return np.cumsum(counts[::-1])[::-1]

    found, wrong = at_least(positive * weights), at_least((1 - positive) * weights)
    precision = found / np.maximum(MIN_COUNT, found + wrong)
    return found, wrong, precision, found / np.maximum(MIN_COUNT, found[0])


def mesh(vertices: Any, colors: Any, faces: Any) -> dict[str, Any]:
    """Makes plotly's JSON of one mesh, or of points without faces."""
    x, y, z = (axis.tolist() for axis in vertices.reshape(-1, 3).T)
    shades = None
    if colors is not None:
        shades = [
            f"rgb({red},{green},{blue})" for red, green, blue in _to_bytes(colors).reshape(-1, 3).tolist()
        ]
    if faces is None:
        marker = {"size": 2} if shades is None else {"size": 2, "color": shades}
        trace = {"type": "scatter3d", "mode": "markers", "x": x, "y": y, "z": z, "marker": marker}
    else:
        i, j, k = (corner.tolist() for corner in faces.reshape(-1, 3).T)
        trace = {"type": "mesh3d", "x": x, "y": y, "z": z, "i": i, "j": j, "k": k}
        if shades is not None:
            trace["vertexcolor"] = shades
    return {"data": [trace], "layout": {"scene": {"aspectmode": "data"}}}


def image_arguments(image: Any) -> dict[str, Any]:
    """Gives the arguments of ClearML's `report_image` for an image of any kind."""
    if isinstance(image, (str, os.PathLike)):
        if not os.path.isfile(image):
            raise ArgumentError("images", image, "a file that exists")
        return {"local_path": os.fspath(image)}
    if hasattr(image, "savefig"):  # a figure of matplotlib
        from PIL import Image

        picture = io.BytesIO()
        image.savefig(picture, format="png")
        image = Image.open(picture)
    if hasattr(image, "convert") and hasattr(image, "mode"):  # Pillow's
        return {"image": to_pixels(as_array(image.convert("RGBA")), "HWC")}
    array = as_array(image)
    if array.ndim == 2:
        return {"image": to_pixels(array, "HW")}
    forms = ("CHW", "HWC") if hasattr(image, "detach") else ("HWC", "CHW")  # a tensor's, an array's
    for form in forms:
        if array.ndim == 3 and array.shape[form.index("C")] in COLOUR_CHANNELS:
            return {"image": to_pixels(array, form)}
    raise ArgumentError("images", array.shape, "images with 1, 3 or 4 channels, first (tensors) or last")


def table(columns: Sequence[str] | None, data: Sequence[Sequence[Any]] | None, dataframe: Any) -> Any:
    """Gives what ClearML takes as a table: a data frame, or rows of which the first one is the header."""
    if (data is None) == (dataframe is None):
        raise ArgumentError("data", data, "rows, or dataframe= in their place")
    if data is None:
        return dataframe
    rows = [[_cell(value) for value in row] for row in data]
    width = len(columns) if columns is not None else max(map(len, rows), default=0)
    for number, row in enumerate(rows):
        if len(row) != width:
            raise ArgumentError("data", data[number], f"rows of {width} values; this is row {number}")
    return [[str(name) for name in (columns if columns is not None else range(width))], *rows]


def _cell(value: Any) -> Any:
    if hasattr(value, "item"):
        with contextlib.suppress(RuntimeError, ValueError):  # it has several elements
            value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # not in JSON
    return value if isinstance(value, (bool, int, float, str)) else shown(value, MAX_TEXT_CHARS)
