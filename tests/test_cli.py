"""The command line around the pipeline: options, outputs, exit codes. The pipeline itself is a stand-in here."""

import json
import subprocess
import sys
import types

import pytest

from id2r_core import __main__ as cli
from id2r_core import __version__
from id2r_core.errors import Cancelled, Id2rError
from id2r_core.protocol import Request


@pytest.fixture
def stand_in(monkeypatch):
    """Put a module in the place of one of the core's; the command line imports all of them late."""

    def put(name: str, **members) -> None:
        module = types.ModuleType(f"id2r_core.{name}")
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


@pytest.fixture
def requests(stand_in):
    """The requests that reach the pipeline, which does them all at once."""
    received = []

    def reconstruct(request, progress=lambda stage, done, total: None):
        received.append(request)
        progress("photo", 0, 2)
        progress("swap", 1, 2)
        progress("swap", 2, 2)
        return types.SimpleNamespace(out=request.out, report={"warnings": ["2 faces were found."], "seconds": {}})

    stand_in("pipeline", reconstruct=reconstruct)
    return received


def test_every_option_reaches_the_request(requests, capsys, tmp_path):
    (tmp_path / "points.json").write_text("{}")
    hand = ["--interactive-landmarks", str(tmp_path / "points.json")]
    more = "--more b.jpg c.jpg "
    options = (
        more + "--out o --pack p --resolution 512 --device cpu --template fixed --no-keep-expression --refine 0.25"
    )
    assert cli.main(["reconstruct", "a.jpg", *options.split(), "--landmarks", "f.task", "--face", "2", *hand]) == 0
    assert requests == [
        Request(
            "a.jpg",
            "o",
            "p",
            512,
            "cpu",
            "fixed",
            False,
            0.25,
            task_file="f.task",
            face=2,
            interactive_landmarks="{}",
            more_photos=("b.jpg", "c.jpg"),
        )
    ]


def test_the_default_folder_is_named_after_the_photo(requests, capsys):
    assert cli.main(["reconstruct", "pictures/ada.jpg"]) == 0
    assert requests[0] == Request("pictures/ada.jpg", "out/ada")


def test_a_person_sees_a_bar_warnings_and_the_place(requests, capsys):
    cli.main(["reconstruct", "a.jpg", "--out", "o"])
    captured = capsys.readouterr()
    assert captured.out == "The head and its maps are in o.\n"
    assert "photo" in captured.err and "2/2" in captured.err and "Note: 2 faces were found." in captured.err


def test_a_program_sees_one_json_object(requests, capsys):
    cli.main(["reconstruct", "a.jpg", "--json"])
    captured = capsys.readouterr()
    assert json.loads(captured.out)["warnings"] == ["2 faces were found."]
    assert captured.err == ""


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (Id2rError("No face was found in 'a'.", "Use another."), 2, "Error: No face was found in 'a'. Use another.\n"),
        (KeyboardInterrupt(), 130, "Cancelled"),
        (Cancelled(), 130, "Cancelled"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, "This Python has no 'torch'"),
        (ZeroDivisionError("a bug"), 1, "Something unforeseen happened: ZeroDivisionError: a bug."),
    ],
    ids=["bad input", "ctrl-c", "cancelled", "no torch", "bug"],
)
def test_exit_codes(stand_in, capsys, failure, code, text):
    def reconstruct(request):
        raise failure

    stand_in("pipeline", reconstruct=reconstruct)
    assert cli.main(["reconstruct", "a.jpg", "--json"]) == code
    captured = capsys.readouterr()
    assert text in captured.err and captured.out == ""
    assert ("Traceback" in captured.err) == (code == 1)


@pytest.mark.parametrize(
    ("command", "module"), [("capture preview", "capture.preview"), ("train", "train.cli"), ("pack", "packs.cli")]
)
def test_other_commands_are_handed_their_arguments(stand_in, command, module):
    received = []
    stand_in(module, main=lambda arguments: received.append(list(arguments)))
    assert cli.main([*command.split(), "--minutes", "3"]) == 0
    assert received == [["--minutes", "3"]]


@pytest.mark.parametrize("arguments", [["dance"], ["capture"], ["reconstruct", "a.jpg", "--resolution", "7"]])
def test_wrong_words_are_explained(requests, capsys, arguments):
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith("Error: ")
    assert requests == []


def test_help_and_version(capsys):
    assert cli.main(["--help"]) == 0
    assert cli.main([]) == 2
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.endswith(__version__ + "\n")


def test_the_help_names_every_command():
    for command in cli.COMMANDS:
        assert f"\n  {command} " in cli.USAGE


def test_the_real_process():
    command = [sys.executable, "-m", "id2r_core", "reconstruct", "no such photo.jpg", "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith("Error: ") and "no such photo.jpg" in finished.stderr
