"""Sentences in panels: wrapped to their width, and said for people."""

from textwrap import wrap

from . import estimate, job
from .core import errors

PIXELS_PER_LETTER = 7.0
LONGEST_TEXT = 400  # letters; the whole text is in the Info editor


def draw_text(layout, context, text: str, icon: str) -> None:
    """A sentence, wrapped to the width of the panel."""
    letters = max(20, int(context.region.width / (PIXELS_PER_LETTER * context.preferences.system.ui_scale)) - 6)
    column = layout.column(align=True)
    for row, line in enumerate(wrap(text[:LONGEST_TEXT], letters)):
        column.label(text=line, icon="BLANK1" if row else icon)


def python_in_words(chosen: str) -> str:
    """Which Python a job would use now."""
    try:
        return job.find_python(chosen)
    except errors.Id2rError as error:
        return error.message


def draw_progress(layout, status) -> None:
    """How far the running job is, and a way out."""
    draw_bar(layout, status.fraction, progress_text(status))
    layout.operator("id2r.cancel", text="Cancel (Esc)", icon="X")


def draw_bar(layout, fraction: float, text: str) -> None:
    layout.progress(factor=fraction, text=text)


def progress_text(status) -> str:
    if status.cancelling:
        return "Cancelling"
    stage = status.stage.capitalize() or f"Starting: {status.task}"
    return f"{stage}, {estimate.in_words(status.seconds_left)}" if status.seconds_left else stage
