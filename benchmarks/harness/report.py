"""`python -m benchmarks.harness.report FILE`: put the figures of a `--json` file into docs/performance.md, between the two marks of its benchmark."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import figures

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
END = "<!-- end of figures -->"
SINGLY = 10


def main(file: Path) -> None:
    measured = json.loads(file.read_text())
    begin = f"<!-- figures: {command_of(measured).split()[2]} -->\n"
    before, _, rest = DOCUMENT.read_text().partition(begin)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{DOCUMENT} has lost its marks {begin.strip()} and {END}")
    DOCUMENT.write_text(f"{before}{begin}{section(measured)}\n{END}{after}")


def command_of(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return the command that measured them."""
    settings = measured[0]["settings"]
    return str(settings.get("command") or f"./run bench settle --seconds {settings['seconds']} --repeat {settings['repeat']}")


def section(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return the table, and under it what it was measured on and what each run gave."""
    settings = measured[0]["settings"]
    lines = [
        f"Machine: {settings['cpu']}, {settings['cores']} cores, {settings['memory_gb']} GB; load before and after"
        f" {settings['load_before']} and {settings.get('load_after', 'unknown')}. PostgreSQL {settings['server_version']}, Python {settings['python']}.",
        f"Server: fsync, synchronous_commit and full_page_writes on, shared_buffers {settings['shared_buffers']}, max_wal_size"
        f" {settings['max_wal_size']}, checkpoint_timeout {settings['checkpoint_timeout']}, wal_compression"
        f" {settings['wal_compression']}; clients on the same machine.",
        f"Command: `{command_of(measured)}`.",
        "",
        figures.table(measured),
    ]
    if runs := runs_of(measured):
        lines += ["", f"Every run, in {measured[0]['unit']}:", *(f"- {kind}: {spread(rates)}" for kind, rates in runs.items())]
    return "\n".join(lines)


def spread(rates: Sequence[float]) -> str:
    """Return the rates of all runs; of more than ten the least, the median and the most."""
    if len(rates) <= SINGLY:
        return ", ".join(figures.written(rate) for rate in rates)
    least, most = figures.written(min(rates)), figures.written(max(rates))
    return f"{least} to {most} in {len(rates)}, median {figures.written(statistics.median(rates))}"


def runs_of(measured: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    return {kind: rates for figure in measured for kind, rates in figure["settings"].get("runs", {}).items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
