"""The warm process behind the add-on: commands on standard input, events on standard output (see `protocol`).

It stays alive between jobs, so that the networks' libraries are loaded once. Standard output belongs to the protocol:
whatever a library prints goes to standard error instead.
"""

import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import TextIO

from . import __version__
from .errors import Cancelled, Id2rError, unforeseen
from .protocol import (
    AnyRequest,
    CaptureRequest,
    Event,
    FacesRequest,
    Failed,
    InspectRequest,
    MakeHumanRequest,
    Progress,
    Ready,
    Request,
    Result,
    Stopped,
    TemplatesRequest,
    TransferRequest,
    Warned,
    decode_command,
    encode_event,
)


class Worker:
    """Runs one job after another. Jobs are numbered from 1; the reading thread only files and cancels them."""

    def __init__(self, commands: TextIO, events: TextIO, memory_gib: float = 0.0):
        self._memory_gib = memory_gib
        self._commands = commands
        self._events = events
        self._writing = threading.Lock()
        self._jobs: queue.Queue[AnyRequest | None] = queue.Queue()
        self._filed = 0
        self._running = 0
        self._cancelled_up_to = 0

    def run(self) -> None:
        """Serve until "quit" or the end of the commands."""
        self._send(Ready(__version__))
        threading.Thread(target=self._read, daemon=True).start()
        while (request := self._jobs.get()) is not None:
            self._running += 1
            self._send(self._last_event(request))

    def _read(self) -> None:
        for line in self._commands:
            try:
                command = decode_command(line)
            except Id2rError as error:
                self._send(Failed(error.message, error.hint))
                continue
            if command.command == "quit":
                break
            if command.command == "cancel":
                self._cancelled_up_to = self._filed
            else:
                self._filed += 1
                self._jobs.put(command.request)
        self._cancelled_up_to = self._filed
        self._jobs.put(None)

    def _last_event(self, request: AnyRequest) -> Event:
        """Do the job and say how it ended."""
        try:
            return self._job(request)
        except Cancelled:
            return Stopped()
        except Id2rError as error:
            return Failed(error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - the process edge: a bug ends the job, not the worker
            traceback.print_exc()
            return Failed(*unforeseen(error))

    def _job(self, request: AnyRequest) -> Event:
        self._stop_if_cancelled()
        kinds = {
            Request: self._reconstruct,
            FacesRequest: self._faces,
            MakeHumanRequest: self._makehuman,
            TransferRequest: self._transfer,
            TemplatesRequest: self._templates,
            CaptureRequest: self._capture,
            InspectRequest: self._inspect,
        }
        return kinds[type(request)](request)

    def _inspect(self, _request: InspectRequest) -> Event:
        from .doctor import inspect

        return Result("", inspect(in_blender=True).to_json())

    def _capture(self, request: CaptureRequest) -> Event:
        from .webcam import capture_photo

        capture_photo(request.source, Path(request.out), Path(request.preview), request.countdown, self._progress)
        return Result(request.out)

    def _faces(self, request: FacesRequest) -> Event:
        from .faces import write_faces

        return Result(request.out, write_faces(request, self._progress))

    def _makehuman(self, request: MakeHumanRequest) -> Event:
        from .makehuman import write_makehuman_maps

        return Result(str(write_makehuman_maps(request.folder, request.size, self._progress)))

    def _transfer(self, request: TransferRequest) -> Event:
        from .transfer import write_transferred_maps

        return Result(request.out, write_transferred_maps(request, self._progress))

    def _templates(self, request: TemplatesRequest) -> Event:
        from .gallery import write_thumbnails

        limit_gpu_memory(self._memory_gib)
        return Result(request.out, write_thumbnails(request, self._progress))

    def _reconstruct(self, request: Request) -> Event:
        from .pipeline import reconstruct

        limit_gpu_memory(self._memory_gib)
        result = reconstruct(request, self._progress)
        for text in result.report["warnings"]:
            self._send(Warned(text))
        return Result(str(result.out), result.report)

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._send(Progress(stage, done, total))
        self._stop_if_cancelled()

    def _stop_if_cancelled(self) -> None:
        if self._running <= self._cancelled_up_to:
            raise Cancelled

    def _send(self, event: Event) -> None:
        with self._writing:
            self._events.write(encode_event(event) + "\n")
            self._events.flush()


def limit_memory(gib: float) -> None:
    """The most memory that this process may ask for from now on; systems without such a limit (Windows) ignore it."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def limit_gpu_memory(gib: float) -> None:
    """The most memory that PyTorch may take of each NVIDIA GPU; 0 is no limit."""
    import torch

    for index in range(torch.cuda.device_count() if gib else 0):
        total = torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / total), index)


def main(memory_gib: float = 0.0) -> int:
    """Serve the process's own pipes; memory_gib: the most memory to use, 0 for no limit."""
    if memory_gib:
        limit_memory(memory_gib)
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        Worker(sys.stdin, events, memory_gib).run()
    except (KeyboardInterrupt, BrokenPipeError):  # the other side is gone, or the user ended both
        return 130
    return 0
