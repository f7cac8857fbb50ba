"""What an evaluation hands on: tables as JSON, from which every Markdown text is made."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .estimate import write_json

QUICK = "A quick run: a handful of people, so that single faces decide. Small differences mean nothing."


@dataclass(frozen=True)
class Table:
    """columns: (heading, decimals) each, decimals None for words. rows: one cell a column; None is blank."""

    title: str
    columns: Sequence[tuple[str, int | None]]
    rows: Sequence[Sequence]
    note: str = ""

    def to_json(self) -> dict:
        """Numbers rounded to what is shown, so that text and JSON cannot disagree; nothing that is no number."""
        rounded = [
            [_rounded(cell, digits) for cell, (_, digits) in zip(row, self.columns, strict=True)] for row in self.rows
        ]
        return asdict(self) | {"columns": [list(column) for column in self.columns], "rows": rounded}


@dataclass(frozen=True)
class Report:
    """name: of the evaluation; data: what it was measured on, in words and numbers; figures: files beside the JSON."""

    name: str
    title: str
    data: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    figures: Sequence[str] = ()
    failures: dict[str, str] = field(default_factory=dict)


def save_report(report: Report, made_with: dict, out: Path) -> None:
    """Write NAME.json and NAME.md. made_with: command, date, pack, size, quick, code, seconds."""
    values = asdict(report) | made_with | {"tables": [table.to_json() for table in report.tables]}
    write_json(out / f"{report.name}.json", values)
    (out / f"{report.name}.md").write_text(markdown(values), encoding="utf-8")


def markdown(report: dict, level: int = 1, figures_at: str = "") -> str:
    """The text of one report as JSON; headings from `level` on, figures under a folder."""
    lines = [f"{'#' * level} {report['title']}", "", report["data"], ""]
    lines += [QUICK, ""] if report["quick"] else []
    pack = report["pack"]
    made = f"Pack `{pack['name']}`, sha256 `{pack['sha256']}`, maps of {report['size']}, {report['date']}"
    lines += [f"{made}, code `{report['code'][:12]}`:", "", f"    {report['command']}", ""]
    for table in report["tables"]:
        lines += [f"**{table['title']}**", "", *_rows(table), ""]
        lines += [table["note"], ""] if table["note"] else []
    for figure in report["figures"]:
        lines += [f"![{Path(figure).stem}]({figures_at}{figure})", ""]
    if report["failures"]:
        named = "; ".join(f"{name}: {why}" for name, why in report["failures"].items())
        lines += [f"Without a result: {named}", ""]
    lines += [f"- {note}" for note in report["notes"]] + ([""] if report["notes"] else [])
    return "\n".join(lines)


def _rows(table: dict) -> list[str]:
    digits = [decimals for _, decimals in table["columns"]]
    rule = ["---" if decimals is None else "---:" for decimals in digits]
    body = [[cell_text(cell, decimals) for cell, decimals in zip(row, digits, strict=True)] for row in table["rows"]]
    heading = [name for name, _ in table["columns"]]
    return ["| " + " | ".join(cells) + " |" for cells in (heading, rule, *body)]


def cell_text(cell, decimals: int | None) -> str:
    """How a cell is written: blank for None, words as they are."""
    if cell is None:
        return ""
    return str(cell) if decimals is None else f"{cell:.{decimals}f}"


def _rounded(cell, decimals: int | None):
    if cell is None or decimals is None:
        return cell
    return None if math.isnan(cell) else round(float(cell), decimals)


def rivals_that_win(
    rows: Sequence[Sequence], column: int, heading: str, ours: str, rivals: Sequence[str], low_is_good: bool
) -> str:
    """A sentence that names the rivals with the better figure in a column; empty when ours is not known."""
    values = {row[0]: row[column] for row in rows if row[column] is not None}
    if ours not in values:
        return ""
    sign = 1 if low_is_good else -1
    better = [name for name in rivals if name in values and sign * values[name] < sign * values[ours]]
    return f"Better than {ours} on {heading}: {', '.join(better) or 'none of the rivals'}."


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of what there is, None of nothing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
