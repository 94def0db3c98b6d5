"""Figures: what was measured, against which limit, and whether that is what was aimed at.  As a table for people, as JSON for programs."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.  `limit` is what it is measured against, `ratio` is rate to limit; `settings` has the aim and how it was measured."""

    name: str
    rate: float
    limit: float
    unit: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return round(self.rate / self.limit, 3)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    models = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory_kb / 2**20),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def write(figures: Sequence[Figure], file: Path) -> None:
    file.write_text(json.dumps([figure.as_json() for figure in figures], indent=1) + "\n")


def written(figure: float) -> str:
    """Return a figure with two digits at least, or whole: 0.12, 7.9, 11,282."""
    return f"{figure:,.{0 if figure >= 10 or figure == int(figure) else 1 if figure >= 1 else 2}f}"


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures, as they stand in the JSON, as a table of Markdown."""
    rows = [("what", "figure", "against", "ratio", "aim", "unit")]
    for figure in figures:
        against = f"{written(figure['limit'])} {figure['settings']['against']}"
        rows.append(
            (
                figure["settings"]["what"],
                written(figure["rate"]),
                against,
                f"{figure['ratio']:.2f}",
                figure["settings"]["aim"],
                figure["unit"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
