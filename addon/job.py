"""Work in other processes: the warm worker that reconstructs, and Blenders that render. The only user of `subprocess`.

The worker stays alive between jobs, so that its libraries are loaded once; `retire` ends it. Whatever a process does,
its job ends with one of LAST_EVENTS.
"""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bpy

from .core import PACKAGE_ROOT, errors, protocol
from .places import own_folder

LAST_EVENTS = (protocol.Result, protocol.Failed, protocol.Stopped)
STOP_PATIENCE = 3.0  # seconds between asking a worker to stop and going on without it
LOG_TAIL = 300  # characters of a crashed worker's log that go into the message
REPORT_TAIL = 8000  # characters of the last log that go into a problem report
KILLED = (-9, 137)  # exit codes of a process that the system ended for its memory
BEHIND = 10  # how much nicer our processes are than Blender: its window comes first
RUNTIME = "runtime"  # folder of the Python environment that the add-on can make for itself


@dataclass
class _Kept:
    """What outlives a job: the warm process, its command, when it was last used, and the last words of the one before."""

    worker: "Process | None" = None
    command: tuple[str, ...] = ()
    used: float = 0.0
    log: str = ""


_kept = _Kept()


def find_python(chosen: str = "") -> str:
    """The Python that has the core's libraries: the chosen one, our own runtime, one beside the add-on, or this one."""
    if chosen:
        if not Path(chosen).is_file():
            raise errors.Id2rError(
                f"There is no Python at {chosen}.", "Choose another one in the add-on's preferences."
            )
        return chosen
    own, beside = own_folder(RUNTIME), PACKAGE_ROOT / ".venv"
    if (own / protocol.COMPLETE).is_file():
        return str(python_of(own))
    return str(python_of(beside)) if python_of(beside).is_file() else sys.executable


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextmanager
def writing_to_a_pipe() -> Iterator[None]:
    """Writing to a process that is gone raises BrokenPipeError in here, and nothing else.

    Python usually ignores the signal that comes with it, but the Python in Blender does not: it would end Blender.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has no such signal
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE in signal.sigpending():
            signal.sigwait({signal.SIGPIPE})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Process:
    """A child process that writes events; `events` receives them, and a Failed when it ends without a last word.

    chatty: the process also writes lines that are no events (Blender does); they are skipped.
    """

    def __init__(self, command: Sequence[str], chatty: bool = False):
        self.events: queue.Queue[protocol.Event] = queue.Queue()
        self._chatty = chatty
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115 closed by close()
        try:
            self._process = _start(command, self._log)
        except errors.Id2rError:
            self._log.close()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, line: str) -> None:
        with writing_to_a_pipe(), suppress(BrokenPipeError):  # the process is gone; the reading thread says so
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def close(self, patience: float = 5.0) -> None:
        """End the process: politely, and after `patience` seconds by force. Its log is kept for `last_log`."""
        self.send(protocol.encode_command("quit"))
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        _kept.log = self.log()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with writing_to_a_pipe(), suppress(BrokenPipeError):  # the last words to a process that is gone
                stream.close()

    def log(self) -> str:
        """What the process wrote to its standard error, the end of it."""
        self._log.seek(0)
        return self._log.read().strip()[-REPORT_TAIL:]

    def _read(self) -> None:
        for line in self._process.stdout:
            if self._chatty and not line.startswith('{"event"'):
                continue
            try:
                self.events.put(protocol.decode_event(line))
            except errors.Id2rError as error:
                self.events.put(protocol.Failed(error.message, error.hint))
        self.events.put(self._crash())

    def _crash(self) -> protocol.Failed:
        """The process ended without a last word."""
        code = self._process.wait()
        hint = "It may have run out of memory: try a lower resolution, or the CPU."
        if code in KILLED:
            return protocol.Failed("The system ended the worker process, most likely for want of memory.", hint)
        tail = self.log()[-LOG_TAIL:]
        return protocol.Failed(f"The worker process ended unexpectedly (code {code}).", f"{hint} {tail}".strip())


class Job:
    """One request to a process. `poll` never waits; the last event is one of LAST_EVENTS, sent once."""

    def __init__(self, process: Process, keep_warm: bool):
        self._process = process
        self._keep_warm = keep_warm
        self._asked_to_stop: float | None = None
        self._ended = False

    def poll(self) -> list[protocol.Event]:
        """The events since the last call. A worker that does not stop when asked is counted as stopped."""
        events = []
        while not self._ended and not self._process.events.empty():
            events.append(self.wait())
        overdue = self._asked_to_stop is not None and time.monotonic() - self._asked_to_stop > STOP_PATIENCE
        return [*events, protocol.Stopped()] if overdue and not self._ended else events

    def wait(self) -> protocol.Event:
        """The next event; waits for it."""
        event = self._process.events.get()
        self._ended = isinstance(event, LAST_EVENTS)
        return event

    def cancel(self) -> None:
        """Ask the process, once, to stop at its next progress report; `poll` then brings a Stopped."""
        if self._asked_to_stop is None:
            self._asked_to_stop = time.monotonic()
            self._process.send(protocol.encode_command("cancel"))

    def close(self, patience: float = 0.2) -> bool:
        """The job is over. A worker that has said its last word stays warm; any other process is ended.

        Returns whether a worker was ended in its work that would have stayed warm.
        """
        if self._keep_warm and self._ended and self._process.is_alive():
            _kept.used = time.monotonic()
            return False
        if _kept.worker is self._process:
            _kept.worker = None
        self._process.close(patience)
        return self._keep_warm and not self._ended


def start(python: str, request: protocol.AnyRequest, memory_gib: float = 0.0) -> Job:
    """Give a request to the warm worker, or to a new one when there is none or it has another Python or memory limit.

    memory_gib: the most memory that the worker may use, 0 for no limit
    """
    command = (shutil.which(python) or python, "-m", "id2r_core", "worker", "--memory", str(memory_gib))
    if not (is_warm() and _kept.command == command):
        retire()
        _kept.used = time.monotonic()
        _kept.worker, _kept.command = Process(command), command
    _kept.worker.send(protocol.encode_job(request))
    return Job(_kept.worker, keep_warm=True)


def start_render(arguments: list[str]) -> Job:
    """`addon.batch` with these arguments in a Blender of its own, without a window."""
    if bpy.app.binary_path:
        code = f"import sys; sys.path.insert(0, {str(PACKAGE_ROOT)!r}); from addon import batch; "
        code += f"sys.exit(batch.main({[*arguments, '--json']!r}))"
        command = [bpy.app.binary_path, "--background", "--factory-startup", "--python-expr", code]
    else:
        command = [sys.executable, "-m", "addon.batch", *arguments, "--json"]
    return Job(Process(command, chatty=True), keep_warm=False)


def start_install(folder: Path) -> Job:
    """Make our own Python environment in a folder, with the Python that runs Blender."""
    return Job(Process([sys.executable, "-m", "id2r_core.install", str(folder)]), keep_warm=False)


def run(
    python: str, request: protocol.AnyRequest, on_event: Callable[[protocol.Event], None], memory_gib: float = 0.0
) -> protocol.Event:
    """The whole job, waiting; on_event sees every event but the last, which is returned. Ctrl-C ends the worker."""
    return finish(start(python, request, memory_gib), on_event)


def finish(job: Job, on_event: Callable[[protocol.Event], None]) -> protocol.Event:
    """Wait for the last event of a job, and close it."""
    try:
        while not isinstance(event := job.wait(), LAST_EVENTS):
            on_event(event)
    finally:
        job.close()
    return event


def is_warm() -> bool:
    """Is there a worker that waits for its next job?"""
    return _kept.worker is not None and _kept.worker.is_alive()


def idle_seconds() -> float:
    """How long the warm worker has had nothing to do."""
    return time.monotonic() - _kept.used


def retire() -> None:
    """End the warm worker, if there is one, and give its memory back."""
    worker, _kept.worker = _kept.worker, None
    if worker is not None:
        worker.close(patience=1.0)


def last_log() -> str:
    """What the latest worker wrote besides events."""
    return _kept.log if _kept.worker is None else _kept.worker.log()


def _start(command: Sequence[str], log) -> subprocess.Popen:
    """A process that finds this very copy of the core. Nothing is written into the add-on's folder."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONHOME", None)
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=log, env=environment, encoding="utf-8", creationflags=flags
        )
    except OSError as error:
        message = f"{command[0]} could not be started: {error.strerror}."
        raise errors.Id2rError(message, "Choose another Python in the add-on's preferences.") from error
    if hasattr(os, "setpriority"):  # not on Windows, where the flag says the same
        os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + BEHIND)
    return process
