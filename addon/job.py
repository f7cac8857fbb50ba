"""One reconstruction in a worker process: start, read its events, cancel, end. The only user of `subprocess`."""

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .core import PACKAGE_ROOT, errors, protocol

LAST_EVENTS = (protocol.Result, protocol.Failed, protocol.Stopped)
STOP_PATIENCE = 3.0  # seconds between asking a worker to stop and going on without it
LOG_TAIL = 300  # characters of a crashed worker's log that go into the message


def find_python(chosen: str = "") -> str:
    """The Python that has the core's libraries: the chosen one, the environment beside the add-on, or this one."""
    if chosen:
        if not Path(chosen).is_file():
            raise errors.Id2rError(
                f"There is no Python at {chosen}.", "Choose another one in the add-on's preferences."
            )
        return chosen
    folder = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    beside = PACKAGE_ROOT / ".venv" / folder
    return str(beside) if beside.is_file() else sys.executable


class Job:
    """A worker process with one request. `poll` never waits; the last event is one of LAST_EVENTS, sent once."""

    def __init__(self, python: str, request: protocol.Request):
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115 closed by close()
        self._asked_to_stop: float | None = None
        self._events: queue.Queue[protocol.Event] = queue.Queue()
        try:
            self._process = _start(python, self._log)
        except errors.Id2rError:
            self._log.close()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._send(protocol.encode_command("reconstruct", request))

    def poll(self) -> list[protocol.Event]:
        """The events since the last call. A worker that does not stop when asked is counted as stopped."""
        events = []
        while not self._events.empty():
            events.append(self._events.get())
        overdue = self._asked_to_stop is not None and time.monotonic() - self._asked_to_stop > STOP_PATIENCE
        return [*events, protocol.Stopped()] if overdue else events

    def wait(self) -> protocol.Event:
        """The next event; waits for it."""
        return self._events.get()

    def cancel(self) -> None:
        """Ask the worker, once, to stop at its next progress report; `poll` then brings a Stopped."""
        if self._asked_to_stop is None:
            self._asked_to_stop = time.monotonic()
            self._send(protocol.encode_command("cancel"))

    def close(self, patience: float = 5.0) -> None:
        """End the process: politely, and after `patience` seconds by force."""
        self._send(protocol.encode_command("quit"))
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with suppress(BrokenPipeError):  # the last words to a process that is gone
                stream.close()

    def _send(self, line: str) -> None:
        with suppress(BrokenPipeError):  # the process is gone; the reading thread says so
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        for line in self._process.stdout:
            try:
                event = protocol.decode_event(line)
            except errors.Id2rError as error:
                event = protocol.Failed(error.message, error.hint)
            self._events.put(event)
            if isinstance(event, LAST_EVENTS):
                return
        self._events.put(self._crash())

    def _crash(self) -> protocol.Failed:
        """The worker ended without a last word."""
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read().strip()[-LOG_TAIL:]
        hint = "It may have run out of memory: try a lower resolution, or the CPU. "
        return protocol.Failed(f"The worker process ended unexpectedly (code {code}).", hint + tail)


def run(python: str, request: protocol.Request, on_event: Callable[[protocol.Event], None]) -> protocol.Event:
    """The whole job, waiting; on_event sees every event but the last, which is returned. Ctrl-C ends the worker."""
    job = Job(python, request)
    try:
        while not isinstance(event := job.wait(), LAST_EVENTS):
            on_event(event)
    finally:
        job.close()
    return event


def _start(python: str, log) -> subprocess.Popen:
    """The worker of this very copy of the core. Nothing is written into the add-on's folder."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONHOME", None)
    command = [shutil.which(python) or python, "-m", "id2r_core", "worker"]
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=log, env=environment, encoding="utf-8", creationflags=flags
        )
    except OSError as error:
        message = f"The Python at {python} could not be started: {error.strerror}."
        raise errors.Id2rError(message, "Choose another one in the add-on's preferences.") from error
