"""What the API server answers when it refuses a call: HTTP code, subcode, sentence."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal, in the form in which it goes over the wire.

    Args:
        code: The HTTP status, repeated in ``meta.result_code``.
        subcode: ``meta.result_subcode``, which tells refusals of one status apart.
        message: The sentence; ``details`` are appended as ``key=value``.
        details: The facts, also sent as ``meta.error_data``.
    """

    def __init__(self, code: int, subcode: int, message: str, /, **details: object) -> None:
        self.code = code
        self.subcode = subcode
        self.details: dict[str, Any] = dict(details)
        facts = ", ".join(f"{key}={_text(value)}" for key, value in details.items())
        self.message = f"{message}: {facts}" if facts else message
        super().__init__(f"{code}/{subcode} {self.message}")


def _text(value: object) -> str:
    if isinstance(value, (list, tuple, set)):
        return f"({', '.join(map(str, value))})"
    return str(value)


def _said(sentence: str, extra: str) -> str:
    return f"{sentence} ({extra})" if extra else sentence


def bad_request(message: str) -> ApiError:
    """The body or the path could not be read at all."""
    return ApiError(400, 0, message)


def key_error(key: str) -> ApiError:
    """A fault in the server's own Python."""
    return ApiError(500, 0, f"General server error: err={key!r}")


def invalid_object_id(**details: object) -> ApiError:
    """No such task, in the words of `tasks.started` alone."""
    return ApiError(400, 10, "Invalid object id", **details)


def missing_fields(*names: str) -> ApiError:
    """A field is absent that the call cannot do without."""
    return ApiError(400, 11, "Missing required fields", missing=names)


def validation_error(extra: str, **details: object) -> ApiError:
    """The body does not have the call's form."""
    return ApiError(400, 12, _said("Validation error", extra), **details)


def invalid_fields(error: str) -> ApiError:
    """``only_fields`` or ``order_by`` names a field that no document has."""
    return ApiError(400, 14, "Lookup error", err=error)


def fields_value_error(extra: str, **details: object) -> ApiError:
    """A field names something that does not exist, or cannot be used in a query."""
    return ApiError(400, 16, _said("Invalid value for fields", extra), **details)


def batch_is_empty() -> ApiError:
    """A batch call without a single line."""
    return ApiError(400, 17, "Batch request contains no items")


def invalid_regex(error: str) -> ApiError:
    """A pattern that does not compile."""
    return ApiError(400, 21, "Malformed regular expression", err=error)


def invalid_task_id(**details: object) -> ApiError:
    """No such task."""
    return ApiError(400, 101, "Invalid task id", **details)


def invalid_status(extra: str = "", **details: object) -> ApiError:
    """The task's status does not allow the call."""
    return ApiError(400, 110, _said("Invalid task status", extra), **details)


def missing_task_fields(extra: str, **details: object) -> ApiError:
    """The task lacks a part that the call changes."""
    return ApiError(400, 122, _said("Task is missing expected fields", extra), **details)


def cannot_delete(extra: str, **details: object) -> ApiError:
    """The task, or what hangs on it, is protected."""
    return ApiError(400, 123, _said("Task cannot be deleted", extra), **details)


def events_not_added(**details: object) -> ApiError:
    """Not one event of the request could be stored."""
    return ApiError(400, 131, "Events not added", **details)


def invalid_model_id(**details: object) -> ApiError:
    """No such model."""
    return ApiError(400, 201, "Invalid model id", **details)


def model_is_ready(**details: object) -> ApiError:
    """The model is published already."""
    return ApiError(400, 203, "Model is ready", **details)


def invalid_project_id(**details: object) -> ApiError:
    """No such project."""
    return ApiError(400, 401, "Invalid project id", **details)


def project_has(what: str, **details: object) -> ApiError:
    """The project is not empty."""
    subcode = {"tasks": 402, "models": 405}[what]
    return ApiError(400, subcode, f"Project has associated {what} (use force=true)", **details)


def invalid_project_name(**details: object) -> ApiError:
    """The project's path has no segment."""
    return ApiError(400, 407, "Invalid project name", **details)


def cannot_move_project(**details: object) -> ApiError:
    """An update would move the project to another parent."""
    return ApiError(400, 408, "Cannot update project location", **details)


def invalid_queue_id(**details: object) -> ApiError:
    """No such queue."""
    return ApiError(400, 701, "Invalid queue id", **details)


def queue_not_empty(**details: object) -> ApiError:
    """Tasks wait in the queue."""
    return ApiError(400, 702, "Queue is not empty (use force=true to delete)", **details)


def not_in_queue(**details: object) -> ApiError:
    """The task does not wait in this queue."""
    return ApiError(400, 703, "Invalid queue id or task not in queue", **details)


def already_queued(**details: object) -> ApiError:
    """The task waits in this queue already."""
    message = "Failed adding task to queue since task is already queued"
    return ApiError(400, 706, message, **details)


def no_default_queue() -> ApiError:
    """No queue was named and none is marked as the default."""
    return ApiError(400, 707, "No queue is tagged as the default queue for this company")


def data_validation_error(**details: object) -> ApiError:
    """The document would not pass the database's own checks."""
    return ApiError(400, 800, "Data validation error", **details)


def too_short(field: str) -> ApiError:
    """A name with fewer than three characters."""
    return data_validation_error(**{field: "String value is too short"})


def name_taken(**details: object) -> ApiError:
    """Another project has this name."""
    return ApiError(400, 801, "Project with the same name already exists", **details)


def not_unique(**details: object) -> ApiError:
    """Another document has these values, which the database allows once."""
    message = "Value combination already exists (unique field already contains this value)"
    return ApiError(400, 801, message, **details)


def vanished() -> ApiError:
    """The document was deleted while the call worked on it."""
    return ApiError(500, 100, "General data error: Document does not exist")


def worker_registration_failed(extra: str, **details: object) -> ApiError:
    """A worker cannot register like this."""
    return ApiError(400, 1002, _said("Worker registration failed", extra), **details)


def invalid_worker(**details: object) -> ApiError:
    """No such worker."""
    return ApiError(400, 1001, "Invalid worker id", **details)


def no_credentials() -> ApiError:
    """The call has no ``Authorization``."""
    return ApiError(401, 20, "Unauthorized (missing credentials)")


def bad_auth_type() -> ApiError:
    """``Authorization`` is neither Basic nor Bearer."""
    return ApiError(401, 10, "Unauthorized (bad authentication header type)")


def malformed_credentials(extra: str) -> ApiError:
    """Basic credentials that cannot be decoded."""
    return ApiError(401, 21, _said("Unauthorized (malformed credentials)", extra))


def invalid_credentials() -> ApiError:
    """A key or secret that the server does not know."""
    message = "Unauthorized (invalid credentials)"
    return ApiError(401, 22, _said(message, "failed to locate provided credentials"))


def invalid_token(reason: str) -> ApiError:
    """A token that is malformed, foreign or expired."""
    return ApiError(401, 30, "Invalid token (invalid jwt token)", reason=reason)


def unknown_endpoint(name: str, version: str) -> ApiError:
    """No call has this name."""
    message = f"Unable to find endpoint for name {name} and version {version}"
    return ApiError(404, 0, message)


def data_error(extra: str, **details: object) -> ApiError:
    """The event store refused a document."""
    return ApiError(500, 100, _said("General data error", extra), **details)
