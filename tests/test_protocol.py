"""Requests and events in both directions, and the worker that speaks them."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import types

import pytest

from id2r_core import __version__, protocol
from id2r_core.errors import Cancelled, Id2rError
from id2r_core.protocol import Failed, Progress, Ready, Request, Result, Stopped, Warned
from id2r_core.worker import Worker

REQUEST = Request(photo="a.png", out="out/a")
EVENTS = [
    Ready("1.2.3"),
    Progress("swap", 3, 12),
    Warned("Two faces: 'left' and \"right\".\nDone."),
    Result("out/ä", {"seconds": {"swap": 1.5}, "warnings": []}),
    Failed("No face.", "Use another photo."),
    Stopped(),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_survive_the_pipe(event):
    line = protocol.encode_event(event)
    assert "\n" not in line
    assert protocol.decode_event(line) == event


def test_every_kind_of_event_is_tried_above():
    assert {type(event) for event in EVENTS} == set(protocol.EVENTS.values())


def test_the_agreed_names_on_the_wire():
    assert json.loads(protocol.encode_event(Progress("swap", 3, 12))) == {
        "event": "progress",
        "stage": "swap",
        "done": 3,
        "total": 12,
    }
    assert json.loads(protocol.encode_event(Failed("m", "h"))) == {"event": "error", "message": "m", "hint": "h"}


def test_a_request_survives_the_pipe():
    request = dataclasses.replace(REQUEST, pack="p", resolution=2048, device="cpu", keep_expression=False, refine=0.5)
    command = protocol.decode_command(protocol.encode_command("reconstruct", request))
    assert command == protocol.Command("reconstruct", request)
    assert protocol.decode_command(protocol.encode_command("cancel")) == protocol.Command("cancel")


def test_further_photos_survive_the_pipe():
    request = dataclasses.replace(REQUEST, more_photos=["b.png", "c.png"])
    assert request.photos == ("a.png", "b.png", "c.png")
    assert protocol.decode_command(protocol.encode_job(request)).request == request


def test_the_agreed_defaults():
    expected = {"pack": "tiny", "resolution": 1024, "device": "auto", "template": "closest", "keep_expression": True}
    assert (
        REQUEST.to_json()
        == {
            "photo": "a.png",
            "out": "out/a",
            "refine": 1.0,
            "hair": 1.0,
            "pores": 1.0,
            "task_file": "",
            "face": 1,
            "interactive_landmarks": "",
            "more_photos": (),
        }
        | expected
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photo": ""}, "photo is missing"),
        ({"out": None}, "out is missing"),
        ({"resolution": 0}, "resolution of 0"),
        ({"resolution": 1024.0}, "resolution of 1024.0"),
        ({"resolution": True}, "resolution of True"),
        ({"resolution": 10**6}, "resolution of 1000000"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"refine": 1.5}, "strength of 1.5"),
        ({"refine": float("nan")}, "strength of nan"),
        ({"refine": "much"}, "strength of 'much'"),
        ({"keep_expression": "yes"}, "keep_expression"),
        ({"task_file": None}, "landmark model"),
        ({"face": 0}, "no face number 0"),
        ({"more_photos": "b.png"}, "not a list of paths"),
        ({"more_photos": ["b.png", ""]}, "not a list of paths"),
        ({"more_photos": [None]}, "not a list of paths"),
        ({"more_photos": list("bcdef")}, "5 further photos are too many"),
        ({"more_photos": ["b.png", "a.png"]}, "'a.png' is given twice"),
    ],
)
def test_impossible_requests(change, message):
    with pytest.raises(Id2rError, match=message) as caught:
        dataclasses.replace(REQUEST, **change)
    assert caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "[]",
        '{"event": "party"}',
        '{"event": ["progress"]}',
        '{"event": "progress", "stage": "swap"}',
        '{"event": "error", "message": "a", "hint": "b", "more": 1}',
    ],
)
def test_lines_that_are_no_events(line):
    with pytest.raises(Id2rError):
        protocol.decode_event(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        '{"command": "dance"}',
        '{"command": "reconstruct"}',
        '{"command": "reconstruct", "request": {"photo": "a.png"}}',
        '{"command": "reconstruct", "request": {"photo": "a.png", "out": "b", "colour": "red"}}',
    ],
)
def test_lines_that_are_no_commands(line):
    with pytest.raises(Id2rError):
        protocol.decode_command(line)


# ---- the worker ----


@pytest.fixture
def pipeline(monkeypatch):
    """A stand-in for id2r_core.pipeline; tests set its `reconstruct`."""
    module = types.ModuleType("id2r_core.pipeline")
    monkeypatch.setitem(sys.modules, "id2r_core.pipeline", module)
    return module


def done(request: Request, warnings=()) -> types.SimpleNamespace:
    return types.SimpleNamespace(out=request.out, report={"warnings": list(warnings)})


def serve(*commands: str) -> list[protocol.Event]:
    """All events of a worker that is given these lines and then the end of the file."""
    events = io.StringIO()
    Worker(io.StringIO("".join(command + "\n" for command in commands)), events).run()
    return [protocol.decode_event(line) for line in events.getvalue().splitlines()]


class Pipes:
    """A worker in a thread, fed line by line."""

    def __init__(self):
        readers, writers = zip(*(os.pipe() for _ in range(2)), strict=True)
        self.commands, self.events = os.fdopen(writers[0], "w"), os.fdopen(readers[1])
        worker_ends = os.fdopen(readers[0]), os.fdopen(writers[1], "w")
        self._worker = threading.Thread(target=self._work, args=worker_ends)
        self._worker.start()
        assert self.next() == Ready(__version__)

    @staticmethod
    def _work(commands, events):
        with commands, events:
            Worker(commands, events).run()

    def send(self, command: str, request: Request | None = None) -> None:
        self.commands.write(protocol.encode_command(command, request) + "\n")
        self.commands.flush()

    def next(self) -> protocol.Event:
        return protocol.decode_event(self.events.readline())

    def close(self) -> None:
        self.commands.close()
        self._worker.join(10)
        assert not self._worker.is_alive()
        self.events.close()


@pytest.fixture
def pipes(pipeline):
    pipes = Pipes()
    yield pipes
    pipes.close()


def test_a_job_from_ready_to_result(pipeline, pipes):
    def reconstruct(request, progress):
        progress("photo", 0, 1)
        progress("photo", 1, 1)
        return done(request, ["A warning."])

    pipeline.reconstruct = reconstruct
    pipes.send("reconstruct", REQUEST)
    assert [pipes.next() for _ in range(4)] == [
        Progress("photo", 0, 1),
        Progress("photo", 1, 1),
        Warned("A warning."),
        Result("out/a", {"warnings": ["A warning."]}),
    ]


def test_a_failed_job_does_not_end_the_worker(pipeline, pipes, capsys):
    failures = iter([Id2rError("No face.", "Another photo."), ZeroDivisionError("a bug"), None])

    def reconstruct(request, progress):
        if failure := next(failures):
            raise failure
        return done(request)

    pipeline.reconstruct = reconstruct
    for _ in range(3):
        pipes.send("reconstruct", REQUEST)
    assert pipes.next() == Failed("No face.", "Another photo.")
    bug = pipes.next()
    assert isinstance(bug, Failed) and "ZeroDivisionError: a bug" in bug.message
    assert isinstance(pipes.next(), Result)
    assert "Traceback" in capsys.readouterr().err


def test_cancelling_stops_the_job_at_its_next_report_and_no_later_one(pipeline, pipes):
    def reconstruct(request, progress):
        for step in range(10**6):
            progress("swap", step, 10**6)
        return done(request)

    pipeline.reconstruct = reconstruct
    pipes.send("reconstruct", REQUEST)
    assert pipes.next() == Progress("swap", 0, 10**6)
    pipes.send("cancel")
    while isinstance(event := pipes.next(), Progress):
        pass
    assert event == Stopped()
    pipeline.reconstruct = lambda request, progress: done(request)
    pipes.send("reconstruct", REQUEST)
    assert isinstance(pipes.next(), Result)


def test_the_end_of_the_commands_stops_a_running_job(pipeline):
    def reconstruct(request, progress):
        while True:
            progress("swap", 0, 1)

    pipeline.reconstruct = reconstruct
    assert serve(protocol.encode_command("reconstruct", REQUEST))[-1] == Stopped()


def test_nonsense_is_answered_and_survived(pipeline):
    events = serve("nonsense", '{"command": "dance"}')
    assert [type(event) for event in events] == [Ready, Failed, Failed]


def test_a_cancelled_pipeline_is_not_a_failure(pipeline):
    def reconstruct(request, progress):
        raise Cancelled

    pipeline.reconstruct = reconstruct
    assert serve(protocol.encode_command("reconstruct", REQUEST))[-1] == Stopped()


def test_the_real_process_speaks_only_json_on_its_output():
    finished = subprocess.run(
        [sys.executable, "-m", "id2r_core", "worker"],
        input="nonsense\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    events = [protocol.decode_event(line) for line in finished.stdout.splitlines()]
    assert [type(event) for event in events] == [Ready, Failed]
