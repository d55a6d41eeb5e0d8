"""Calls that users make on ClearML's own object of a task, for scripts that run in a process of their own.

No part of the library is imported here: a script tries the calls on a task of ClearML's own as well.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[[Any], Any]


def calls(folder: Path) -> dict[str, Call]:
    """The calls by name, in the order in which they are to be made; each is given ClearML's task.

    Args:
        folder: A folder for the files that they store.
    """
    import numpy
    import pandas
    from clearml import InputModel, OutputModel
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)

    def file(name: str, content: str = "") -> str:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content or f"content of {name}")
        return str(path)

    def model(task: Any, **fields: Any) -> Any:
        return OutputModel(task=task, **{"name": "the model", "framework": "PyTorch", **fields})

    def logger(task: Any) -> Any:
        return task.get_logger()

    def picture() -> Path:
        Image.fromarray(pixels).save(folder / "picture.png")
        return folder / "picture.png"

    def reporting(model: Any) -> str:
        model.report_scalar("title", "series", value=1.0, iteration=5)
        return str(model.update_weights(file("reported.bin"), auto_delete_file=False))

    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    pixels = numpy.zeros((4, 4, 3), numpy.uint8)
    figure = {"data": [{"type": "scatter", "y": [1, 2]}], "layout": {"title": "figure"}}
    array = numpy.array([[1.0, 2.0], [3.0, 4.0]])
    return {
        # parameters
        "set_parameters": lambda t: t.set_parameters({"General/only": 1}),
        "connect": lambda t: dict(t.connect({"z": 1, "nested": {"deep": True}}, name="Extra")),
        "connect General": lambda t: dict(t.connect({"w": 0.5})),
        "connect object": lambda t: t.connect(type("Config", (), {"rate": 0.1})(), name="Object").rate,
        "connect_configuration dict": lambda t: t.connect_configuration({"a": 1}, name="dict"),
        "connect_configuration file": lambda t: Path(
            str(t.connect_configuration(file("c.yaml", "a: 1"), name="file"))
        ).read_text(),
        "set_configuration_object": lambda t: t.set_configuration_object("text", config_text="b = 2"),
        "get_configuration_object": lambda t: t.get_configuration_object("text"),
        "get_configuration_object_as_dict": lambda t: t.get_configuration_object_as_dict("dict"),
        "set_parameter": lambda t: t.set_parameter("General/q", 3, description="a number"),
        "set_parameters_as_dict": lambda t: t.set_parameters_as_dict({"Other": {"name": [1, 2]}}),
        "update_parameters": lambda t: t.update_parameters({"Other/second": None}),
        "get_parameter": lambda t: t.get_parameter("General/q", cast=True),
        "get_parameters": lambda t: {k: v for k, v in t.get_parameters().items() if "Other/" in k},
        "get_parameters_as_dict": lambda t: t.get_parameters_as_dict(cast=True).get("Other"),
        "set_user_properties": lambda t: t.set_user_properties(note="text", number=1.5),
        "set_user_properties dict": lambda t: t.set_user_properties(
            {"name": "described", "description": "long", "value": "v"}
        ),
        "get_user_properties": lambda t: dict(t.get_user_properties()),
        "delete_parameter": lambda t: t.delete_parameter("Other/second"),
        # what describes the task
        "set_comment": lambda t: t.set_comment("a comment"),
        "comment": lambda t: t.comment,
        "add_tags": lambda t: t.add_tags(["one", "two"]),
        "set_tags": lambda t: t.set_tags(["two", "three"]),
        "get_tags": lambda t: sorted(t.get_tags()),
        "get_system_tags": lambda t: set(t.get_system_tags() or ()) - {"development"},
        "get_status": lambda t: t.get_status(),
        "status": lambda t: t.status,
        "get_project_name": lambda t: t.get_project_name(),
        "task_type": lambda t: str(t.task_type),
        "set_script": lambda t: t.set_script(entry_point="x.py", working_dir="."),
        "get_script": lambda t: t.get_script()["entry_point"],
        "set_packages": lambda t: t.set_packages(["numpy==1.0"]),
        "set_base_docker": lambda t: t.set_base_docker(docker_image="image:1", docker_arguments="-e A=1"),
        "get_base_docker": lambda t: t.get_base_docker(),
        "set_progress": lambda t: t.set_progress(50),
        "get_progress": lambda t: (t.reload(), t.get_progress()),
        "set_initial_iteration": lambda t: t.set_initial_iteration(0),
        "get_initial_iteration": lambda t: t.get_initial_iteration(),
        "get_last_iteration": lambda t: t.get_last_iteration(),
        "set_resource_monitor_iteration_timeout": lambda t: t.set_resource_monitor_iteration_timeout(5.0),
        "set_random_seed": lambda t: t.set_random_seed(1),
        "set_model_config": lambda t: t.set_model_config(config_dict={"layers": 2}),
        "get_model_config_text": lambda t: t.get_model_config_text(),
        "set_model_label_enumeration": lambda t: t.set_model_label_enumeration({"cat": 0, "dog": 1}),
        "get_labels_enumeration": lambda t: t.get_labels_enumeration(),
        "get_label_num_description": lambda t: t.get_label_num_description(),
        "output_uri": lambda t: t.output_uri,
        "get_output_destination": lambda t: t.get_output_destination(),
        "running_locally": lambda t: t.running_locally(),
        "is_main_task": lambda t: t.is_main_task(),
        "reload": lambda t: t.reload(),
        "export_task": lambda t: t.export_task()["comment"],
        "get_task": lambda t: type(t).get_task(task_id=t.id).comment,
        "data": lambda t: t.data.comment,
        "parent": lambda t: t.parent is None or True,
        # artifacts
        "upload_artifact dict": lambda t: t.upload_artifact("dict", {"k": 1}),
        "upload_artifact text": lambda t: t.upload_artifact("text", "some words"),
        "upload_artifact file": lambda t: t.upload_artifact("file", file("a.txt")),
        "upload_artifact folder": lambda t: t.upload_artifact("folder", Path(file("sub/b.txt")).parent),
        "upload_artifact wildcard": lambda t: t.upload_artifact("wildcard", str(folder / "sub" / "*.txt")),
        "upload_artifact numpy": lambda t: t.upload_artifact("numpy", array),
        "upload_artifact frame": lambda t: t.upload_artifact("frame", frame),
        "upload_artifact image": lambda t: t.upload_artifact("image", Image.fromarray(pixels)),
        "upload_artifact object": lambda t: t.upload_artifact("object", {1, 2}, auto_pickle=True),
        "upload_artifact wait": lambda t: t.upload_artifact("waited", [1], wait_on_upload=True),
        "register_artifact": lambda t: t.register_artifact("registered", frame),
        "get_registered_artifacts": lambda t: sorted(t.get_registered_artifacts()),
        "unregister_artifact": lambda t: t.unregister_artifact("nothing"),
        "flush": lambda t: t.flush(wait_for_uploads=True),
        "artifacts": lambda t: sorted(name for name in t.artifacts if name != "registered"),
        "artifact get": lambda t: t.artifacts["waited"].get(),
        # reports
        "report_scalar": lambda t: logger(t).report_scalar("scalar", "s", value=1.0, iteration=1),
        "report_single_value": lambda t: logger(t).report_single_value("single", 2.0),
        "report_text": lambda t: logger(t).report_text("words", print_console=False),
        "report_table": lambda t: logger(t).report_table("table", "s", 1, table_plot=frame),
        "report_table list": lambda t: logger(t).report_table("list", "s", 1, table_plot=[["a"], [1]]),
        "report_vector": lambda t: logger(t).report_vector("vector", "s", values=[1, 2], iteration=1),
        "report_histogram": lambda t: logger(t).report_histogram("hist", "s", values=[1, 2], iteration=1),
        "report_line_plot": lambda t: logger(t).report_line_plot(
            "line", [{"name": "s", "data": array}], xaxis="x", yaxis="y", iteration=1
        ),
        "report_scatter2d": lambda t: logger(t).report_scatter2d("2d", "s", array, iteration=1),
        "report_scatter3d": lambda t: logger(t).report_scatter3d("3d", "s", numpy.ones((2, 3)), iteration=1),
        "report_confusion_matrix": lambda t: logger(t).report_confusion_matrix("conf", "s", array, 1),
        "report_matrix": lambda t: logger(t).report_matrix("matrix", "s", array, iteration=1),
        "report_surface": lambda t: logger(t).report_surface("surface", "s", array, iteration=1),
        "report_plotly": lambda t: logger(t).report_plotly("plotly", "s", figure=figure, iteration=1),
        "report_image": lambda t: logger(t).report_image("image", "s", 1, image=pixels),
        "report_image file": lambda t: logger(t).report_image("image", "file", 1, local_path=str(picture())),
        "report_media": lambda t: logger(t).report_media("media", "s", 1, local_path=file("m.txt")),
        "report_media stream": lambda t: logger(t).report_media(
            "media", "stream", 1, stream=io.BytesIO(b"sound"), file_extension="wav"
        ),
        "report_media url": lambda t: logger(t).report_media(
            "media", "url", 1, url="https://x.example/a.html"
        ),
        "set_default_upload_destination": lambda t: logger(t).set_default_upload_destination(None),
        "get_default_upload_destination": lambda t: logger(t).get_default_upload_destination() is None,
        "logger flush": lambda t: logger(t).flush(wait=True),
        # models
        "OutputModel": lambda t: model(t).name,
        "OutputModel.update_weights": lambda t: model(t, name="fresh").update_weights(
            file("fresh.bin"), iteration=3
        ),
        "OutputModel described": lambda t: OutputModel(
            task=t,
            name="described model",
            framework="XGBoost",
            label_enumeration={"cat": 0},
            tags=["best"],
            comment="why it is the best",
            config_dict={"layers": 2},
        ).update_weights(file("described.json"), iteration=7, auto_delete_file=False),
        "OutputModel.update_weights register": lambda t: model(t, name="registered").update_weights(
            register_uri="https://x.example/registered.bin"
        ),
        "OutputModel.report_scalar": lambda t: reporting(model(t, name="reported")),
        "OutputModel.report_table": lambda t: model(t).report_table("table", "s", 1, table_plot=frame),
        "OutputModel.update_labels": lambda t: model(t).update_labels({"cat": 0, "dog": 1}),
        "OutputModel.update_weights_package": lambda t: model(t, name="package").update_weights_package(
            weights_path=str(Path(file("pack/p.bin")).parent)
        ),
        "OutputModel.set_upload_destination": lambda t: model(t).set_upload_destination(folder.as_uri()),
        "OutputModel.published": lambda t: model(t).published,
        "update_output_model": lambda t: t.update_output_model(
            model_path=file("updated.bin"), name="updated", auto_delete_file=False
        ),
        "InputModel": lambda t: InputModel(model_id="0" * 32).connect(t),
        "set_input_model": lambda t: t.set_input_model(model_id="0" * 32),
        "models": lambda t: sorted(t.models["output"].keys()),
        "get_models": lambda t: sorted(t.get_models()["output"].keys()),
        "input_models_id": lambda t: t.input_models_id,
        "output_models_id": lambda t: sorted(t.output_models_id),
        # what was reported
        "get_reported_scalars": lambda t: sorted(t.get_reported_scalars()),
        "get_last_scalar_metrics": lambda t: sorted(t.get_last_scalar_metrics()),
        "get_reported_single_values": lambda t: t.get_reported_single_values(),
        "get_reported_plots": lambda t: len(t.get_reported_plots()) > 0,
        "get_reported_console_output": lambda t: len(t.get_reported_console_output()) > 0,
        "get_output_log_web_page": lambda t: "/output/log" in t.get_output_log_web_page(),
        # changes of what the task is
        "set_name": lambda t: t.set_name("another name"),
        "name": lambda t: t.name,
        "rename": lambda t: t.rename("a third name"),
        "set_task_type": lambda t: t.set_task_type("testing"),
        "set_archived": lambda t: t.set_archived(False),
        "output_uri=": lambda t: setattr(t, "output_uri", folder.as_uri()),
        "upload_artifact elsewhere": lambda t: t.upload_artifact("elsewhere", {"k": 1}, wait_on_upload=True),
        "OutputModel elsewhere": lambda t: model(t, name="elsewhere").update_weights(file("elsewhere.bin")),
    }


def try_all(task: Any, folder: Path) -> dict[str, str]:
    """Makes each call; returns how each ended, without what differs between two tasks.

    Args:
        task: ClearML's own object of a task.
        folder: A folder for the files that they store.
    """
    logging.disable(logging.CRITICAL)
    outcomes = {}
    for name, call in calls(folder).items():
        with contextlib.redirect_stdout(io.StringIO()):  # some print a traceback
            try:
                outcome = repr(call(task))
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
        for known in (str(task.id), str(folder), str(task.name)):
            outcome = outcome.replace(known, "…")
        outcomes[name] = re.sub(r"[0-9a-f]{32}|0x[0-9a-f]+|\d{10,}", "…", outcome)
    logging.disable(logging.NOTSET)
    return outcomes
