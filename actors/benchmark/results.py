"""Results of benchmarks, kept as JSON, and the page made from them.

    python -m actors.benchmark.results docs/benchmarks docs/benchmarks.md

Each benchmark has a file of its own, which a new run replaces. A result names the commit that was measured, so that the
page never shows a figure whose code cannot be found.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from actors.foreign.escape import for_terminal

PACKAGES = ("torch", "triton", "nemo_toolkit", "ray", "numpy", "onnxruntime", "sherpa-onnx")
MEASURED = ("actors", "jobs", "tests", "configs")  # folders whose code a figure is of
MAX_COMMAND = 4_000  # characters


def commit_of_checkout() -> str:
    """The commit that is checked out, with a + if files differ from it; "unknown" outside of a checkout."""
    git = ["git", "-C", str(Path(__file__).parents[2])]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, encoding="utf-8", check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno", "--", *MEASURED], capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + "+" * bool(changed.stdout.strip())


def versions_of(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def to_markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join("| " + " | ".join(for_terminal(cell) for cell in line) + " |" for line in lines)
        return f"{for_terminal(self.title)}:\n\n{table}\n" if self.title else f"{table}\n"


@dataclass(frozen=True)
class Result:
    """What a benchmark found. `about` says what was measured, `measured` holds numbers as they were measured."""

    title: str
    about: str
    tables: Sequence[Table]
    machine: str
    command: str = field(default_factory=lambda: shlex.join(["python", *sys.argv]))
    date: str = field(default_factory=lambda: date.today().isoformat())
    commit: str = field(default_factory=commit_of_checkout)
    versions: dict[str, str] = field(default_factory=versions_of)
    measured: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Result":
        fields = json.loads(text)
        return cls(**fields | {"tables": [Table(**table) for table in fields["tables"]]})

    def to_markdown(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        head = f"## {for_terminal(self.title)}\n\n{for_terminal(self.about, MAX_COMMAND)}\n\n"
        made = f"{self.date}, commit {self.commit}; {self.machine}" + (f"; {versions}" if versions else "")
        commands = "\n".join(f"    {for_terminal(line, MAX_COMMAND)}" for line in self.command.splitlines())
        return f"{head}{for_terminal(made, MAX_COMMAND)}.\n\n{commands}\n\n" + "\n".join(
            map(Table.to_markdown, self.tables)
        )


def page_of(folder: Path) -> str:
    """The page of all results in a folder, by the names of their files."""
    results = [Result.from_json(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    note = f"<!-- Written by `make benchmarks` from {folder.name}/*.json. -->"
    return "\n".join([f"# Benchmarks\n\n{note}\n", *(each.to_markdown() for each in results)])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page_of(Path(sys.argv[1])), encoding="utf-8")
