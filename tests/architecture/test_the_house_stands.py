"""The rules of the house that a machine can check: who may import whom, and what no file of ours may contain.

The import contracts themselves are in pyproject.toml. The sandbox PSP is a foreign company: only its borders are our
business, so the other rules do not look inside.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("ledger", "wallet", "payments", "payouts", "reconciliation")
FOREIGN = ROOT / "payments" / "sandbox"
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "services", "managers", "base", "misc"}
SIGNAL_MODULES = {"django.db.models.signals", "django.dispatch", "django.core.signals"}


def sources(*packages: str) -> Iterator[Path]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.is_relative_to(FOREIGN) and "migrations" not in path.parts:
                yield path


def findings(find: Callable[[ast.AST], Iterator[ast.AST]], *packages: str) -> list[str]:
    """List file and line of all that `find` finds in the syntax trees of `packages`."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]
        for path in sources(*packages)
        for node in find(ast.parse(path.read_text()))
    ]


def imports_inside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    for function in functions:
        yield from (node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom))


def floats(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
        if is_call or (isinstance(node, ast.Attribute) and node.attr == "FloatField"):
            yield node


def signals(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        if SIGNAL_MODULES & set(names):
            yield node


def test_every_import_contract_is_kept() -> None:
    """In a process of its own: the linter switches off every logger that it does not know, for all tests that come later."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout.rpartition("Broken contracts")[2] + linted.stderr


def test_no_file_has_a_name_that_says_nothing() -> None:
    named = [path for path in sources(*APPS, "config", "tests") if path.stem in NAMES_THAT_SAY_NOTHING]
    assert [str(path.relative_to(ROOT)) for path in named] == []


def test_money_never_becomes_a_float() -> None:
    assert findings(floats, *APPS) == []


def test_imports_stand_at_the_top_of_their_module() -> None:
    assert findings(imports_inside_functions, *APPS, "config", "tests") == []


def test_nothing_happens_by_signal() -> None:
    assert findings(signals, *APPS, "config") == []


def test_the_top_level_is_the_one_the_readers_know() -> None:
    apps = {path.parent.name for path in ROOT.glob("*/apps.py")}
    assert apps == set(APPS)
