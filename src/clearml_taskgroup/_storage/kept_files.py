"""Files whose upload has failed, in a folder beside the run log, until `upload` delivers them.

For each address there is one file, and one of JSON that says what it is. So a later upload to the same
address replaces an earlier one, or removes it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._clearml.failed_uploads import FileNotUploaded, reason_of
from .._clearml.models import set_model_address
from .._log import logger
from ..errors import DeliveryError, ServerError
from .append_file import OWNER_ONLY_FILE, OWNER_ONLY_FOLDER
from .run_log import files_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .._clearml.events import Batch
    from .._clearml.failed_uploads import FailedUpload
    from .online import OnlineBackend

ENTRY, CONTENT = ".json", ".data"
Entry = dict[str, Any]


@attrs.define
class KeptFiles:
    """The files of one run that this process could not upload, and those that it found there.

    Attributes:
        folder: Their folder, `run-0001.files`; it exists only while there are files.
        lost: What could be neither uploaded nor kept, with the tasks' names.
    """

    folder: Path | None
    lost: list[tuple[str, FailedUpload]] = attrs.field(factory=list)
    _earlier: set[tuple[str, int]] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._earlier = {(path.name, path.stat().st_mtime_ns) for path in self._files()}

    def _files(self) -> list[Path]:
        return [] if self.folder is None else [path for path in files_in(self.folder) if path.suffix == ENTRY]

    def watch(self, task_id: str, name: str, write: Callable[[Batch], None] | None = None) -> None:
        """Keeps from now on what ClearML's own object of a task cannot upload.

        Args:
            task_id: The ClearML task's id.
            name: The task's name.
            write: Takes the events that it cannot send; None where nothing is sent.
        """

        def resend(events: list[dict[str, Any]]) -> None:
            if write is not None:
                write({task_id: [json.dumps(event, separators=(",", ":")) for event in events]})

        sdk.watch_uploads(task_id, functools.partial(self.keep, name=name), self.forget, resend)

    def keep(self, failed: FailedUpload, name: str) -> bool:
        """Copies the file of a failed upload, and logs that; returns whether there is a copy.

        Args:
            failed: The upload.
            name: The task's name.
        """
        to = f"be uploaded to {failed.url}" if failed.url else "be stored"
        problem = f"{failed.what} of {name!r} could not {to} ({failed.cause})"
        if self.folder is not None and failed.url and (failed.path is not None or failed.content is not None):
            try:
                path = self._write(self.folder, failed, name)
            except OSError as error:
                problem += f", nor copied to {self.folder} ({error})"
            else:
                logger.warning("%s; a copy is in %s", problem, path)
                return True
        self.lost.append((name, attrs.evolve(failed, content=None)))
        logger.warning("%s. %s", problem, _original(failed))
        return False

    def _write(self, folder: Path, failed: FailedUpload, name: str) -> Path:
        folder.mkdir(OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
        entry = attrs.asdict(failed, filter=lambda field, _: field.name not in ("path", "content"))
        entry["name"] = name
        path = folder / f"{_file_name(failed.url)}{CONTENT}"
        part = path.with_suffix(".part")
        try:
            with open(part, "wb", opener=_open_owner_only) as file:
                if failed.path is not None:
                    with failed.path.open("rb") as original:
                        shutil.copyfileobj(original, file)
                else:
                    file.write(failed.content or b"")
            part.replace(path)
            with open(part, "w", encoding="utf-8", opener=_open_owner_only) as file:
                json.dump(entry, file)
            part.replace(path.with_suffix(ENTRY))
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return path

    def forget(self, url: str) -> None:
        """Removes the copy of what was uploaded to an address in the meantime."""
        if self.folder is not None and self.folder.exists():
            self._remove(self.folder / f"{_file_name(url)}{ENTRY}")

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)  # first: without it, the content is nothing's
        path.with_suffix(CONTENT).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there are others
            path.parent.rmdir()

    def entries(self) -> dict[Path, Entry]:
        """Reads what each kept file is, the first one first; what is no entry is skipped."""
        found: dict[Path, Entry] = {}
        for path in self._files():
            with contextlib.suppress(OSError, ValueError, RecursionError):
                entry = json.loads(path.read_text(encoding="utf-8"))
                if _is_entry(entry):
                    found[path] = {**entry, "kept": path.stat().st_mtime_ns}
        return dict(sorted(found.items(), key=lambda item: int(item[1]["kept"])))

    def errors(self, where: str, command: str) -> list[Exception]:
        """Makes the errors about the files that this run's processes could not upload.

        Args:
            where: Where they should be.
            command: The command that uploads them.
        """
        kept = [
            (entry["name"], f"{entry['what']}: {entry['cause']}")
            for path, entry in self.entries().items()
            if (path.name, entry["kept"]) not in self._earlier
        ]
        errors: list[Exception] = []
        if kept:
            remedy = f"Copies are kept; upload them with: {command}"
            names = list(dict.fromkeys(name for name, _ in kept))
            errors.append(DeliveryError(len(kept), names, where, kept[0][1], remedy, unit="file"))
        for name, failed in self.lost:
            cause = f"{failed.what}: {failed.cause}"
            errors.append(DeliveryError(1, [name], where, cause, _original(failed), unit="file"))
        return errors

    def deliver(self, backend: OnlineBackend) -> list[Exception]:
        """Uploads the files, with the events that refer to them, and removes them here.

        Returns:
            The error about those that could not be uploaded, which stay here.
        """
        names, cause = list[str](), ""
        for path, entry in self.entries().items():
            try:
                self._deliver(path, entry, backend)
            except ServerError as error:
                names.append(entry["name"])
                reason = reason_of(error.__cause__) if isinstance(error, FileNotUploaded) else error.problem
                cause = cause or f"{entry['what']}: {reason}"
        if not names:
            return []
        remedy = "Copies are kept; upload again"
        tasks = list(dict.fromkeys(names))
        return [DeliveryError(len(names), tasks, backend.connection.files, cause, remedy, unit="file")]

    def _deliver(self, path: Path, entry: Entry, backend: OnlineBackend) -> None:
        url = sdk.upload_file(path.with_suffix(CONTENT), entry["url"])
        if entry["event"]:
            event = json.dumps({**entry["event"], "url": url}, separators=(",", ":"))
            backend.batch_sender.send_all({entry["task"]: [event]})
        if entry["model"]:
            set_model_address(backend.transport, entry["model"], url)
        self._remove(path)


def _original(failed: FailedUpload) -> str:
    return "It is lost" if failed.path is None else f"The file itself is {failed.path}"


def _file_name(url: str) -> str:
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()[:24]


def _open_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, OWNER_ONLY_FILE)


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), (dict, type(None))):
        return False
    return all(isinstance(entry.get(name), str) for name in ("task", "name", "what", "url", "cause", "model"))
