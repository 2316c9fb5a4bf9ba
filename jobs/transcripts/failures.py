"""Counts recordings that a job had to leave out, and keeps a few of them as examples: each costs itself alone."""

from dataclasses import asdict, dataclass, field

from actors.foreign.errors import unforeseen
from jobs.cli.config_of_jobs import MAX_SHOWN
from jobs.cli.terminal import MAX_EXAMPLES, say, show_table


@dataclass(frozen=True)
class Failure:
    """A recording that was left out, and the file that it should have had, if one of its own."""

    recording_id: str
    file: str | None
    problem: str


@dataclass
class Failures:
    """How many there are, and the first of them, as many as are `kept`."""

    count: int = 0
    examples: list[Failure] = field(default_factory=list)
    kept: int = MAX_EXAMPLES

    def add(self, recording_id: str, problem: Exception | str, file: str | None = None) -> None:
        """Adds a recording with what is wrong: a sentence, an error of storage, or an exception that nobody foresaw."""
        self.count += 1
        if len(self.examples) < self.kept:
            self.examples.append(Failure(recording_id, file, _described(problem)))

    def merge(self, other: "Failures") -> None:
        """Adds those of another part of the work."""
        self.count += other.count
        self.examples = [*self.examples, *other.examples][: self.kept]

    def to_dicts(self) -> list[dict[str, str | None]]:
        """The examples as in a summary."""
        return [asdict(each) for each in self.examples]

    def show(self, what: str, key: str = "") -> None:
        """Prints the examples, under a title that ends with `what`. If there are more of them, names the `key` that
        shows those, if one does."""
        if self.examples:
            title = f"{len(self.examples)} of {self.count} {what}"
            has_files = any(each.file is not None for each in self.examples)
            rows = [
                (each.recording_id, *([each.file or ""] if has_files else ()), each.problem) for each in self.examples
            ]
            columns = ("recording", *(["file"] if has_files else ()), "what is wrong")
            show_table(title, columns, rows, style="red")
        elif self.count:
            say(f"{self.count} {what}", "yellow")
        if key and self.count > len(self.examples):
            say(f"{key}={min(self.count, MAX_SHOWN)} shows more of them")


class Unwritable(ValueError):
    """A recording cannot be written in a format, for a reason that the message tells in a sentence."""


def _described(problem: Exception | str) -> str:
    if isinstance(problem, str | OSError | Unwritable):
        return str(problem)
    return unforeseen(problem)
