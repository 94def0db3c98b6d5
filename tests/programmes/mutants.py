"""Testing the tests: plant a defect in a copy of the house, run the tests that must notice, and count those that do.

`./run mutants` plants all of them, `./run mutants NAME` one, `./run mutants --show NAME` prints the change that plants it.  The last line is
`planted N caught N`; the exit code is 1 if one was not caught.  A defect is a change of the text of one file; if the text is no longer there,
the defect must be written anew, and the programme says so.
"""

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.programmes.defects import DEFECTS, Defect

ROOT = Path(__file__).resolve().parents[2]
ALL_PASSED, SOME_FAILED = 0, 1  # pytest's exit codes; any other means that it did not come to a verdict
LEFT_OUT = shutil.ignore_patterns(
    ".venv", "var", ".git", "*.pyc", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"
)


@dataclass(frozen=True)
class Verdict:
    """What became of one planted defect: caught, or why not."""

    defect: Defect
    is_caught: bool
    says: str


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run mutants", description="Plant defects and see that the tests notice.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(defect.name for defect in DEFECTS)} (default: all)")
    parser.add_argument("--show", action="store_true", help="print the change instead of planting it")
    options = parser.parse_args(arguments)
    chosen = [defect for defect in DEFECTS if not options.names or defect.name in options.names]
    if unknown := set(options.names) - {defect.name for defect in chosen}:
        parser.error(f"there is no defect named {', '.join(sorted(unknown))}")
    if options.show:
        print("\n".join(change_of(defect) for defect in chosen))
        return 0
    verdicts = list(planted(chosen))
    caught = sum(verdict.is_caught for verdict in verdicts)
    print(f"planted {len(verdicts)} caught {caught}")
    return int(caught != len(verdicts))


def planted(defects: Sequence[Defect]) -> Iterator[Verdict]:
    """Plant one after the other, each in a copy of its own, and say at once what became of it."""
    for defect in defects:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
            verdict = verdict_on(defect, Path(directory) / "house")
        says = "caught" if verdict.is_caught else "NOT CAUGHT"
        print(f"{defect.name.ljust(34)} {says} in {time.monotonic() - started:.0f} s: {verdict.says}", flush=True)
        if not verdict.is_caught:
            print(f"  again: ./run mutants {defect.name}", flush=True)
        yield verdict


def verdict_on(defect: Defect, house: Path) -> Verdict:
    shutil.copytree(ROOT, house, ignore=LEFT_OUT, symlinks=True)
    (house / "var" / "static").mkdir(parents=True)
    if changed(defect, house / defect.path) is None:
        return Verdict(defect, is_caught=False, says=f"{defect.path} no longer has the text to change: write the defect anew")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", *defect.tests]
    run = subprocess.run(command, cwd=house, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False)
    if run.returncode == SOME_FAILED:
        return Verdict(defect, is_caught=True, says=first_failure(run.stdout))
    if run.returncode == ALL_PASSED:
        return Verdict(defect, is_caught=False, says=f"all of {' '.join(defect.tests)} passed")
    return Verdict(defect, is_caught=False, says=f"pytest came to no verdict: {(run.stdout + run.stderr)[-400:]}")


def changed(defect: Defect, path: Path) -> str | None:
    """Change the file; return its new text, or None if the defect no longer fits."""
    text = path.read_text()
    if text.count(defect.before) != 1:
        return None
    new = text.replace(defect.before, defect.after)
    path.write_text(new)
    return new


def change_of(defect: Defect) -> str:
    """Return the change as a patch that `git apply` takes."""
    text = (ROOT / defect.path).read_text()
    new = text.replace(defect.before, defect.after)
    lines = difflib.unified_diff(text.splitlines(True), new.splitlines(True), f"a/{defect.path}", f"b/{defect.path}")
    return f"# {defect.name}: {defect.says}\n{''.join(lines)}"


def first_failure(output: str) -> str:
    failed = [line.removeprefix("FAILED ").partition(" - ")[0] for line in output.splitlines() if line.startswith("FAILED ")]
    errors = [line.removeprefix("ERROR ").partition(" - ")[0] for line in output.splitlines() if line.startswith("ERROR ")]
    return (failed + errors + ["pytest failed"])[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
