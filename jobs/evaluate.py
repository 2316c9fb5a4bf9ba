"""Compares committed transcripts with the references that came with their audio: error rates and frequent errors."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from actors.foreign.escape import escape_surrogates, without_credentials
from actors.parts.recordings import have_one_reference
from actors.schema import KEY
from actors.storage.place import Place
from actors.text.normalise import Normalisation, normalise
from jobs.cli.command import FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import StatusLine, print_json, say, show_table
from jobs.transcripts.failures import Failures
from jobs.transcripts.out_files import atomic_file
from jobs.transcripts.read import Transcript, conversations, report_problems, transcripts
from jobs.transcripts.scoring import Edits, compare, interval

EPILOG = """
examples:
  python -m jobs.evaluate configs/demo.yaml
  python -m jobs.evaluate configs/demo.yaml evaluate.group=speaker evaluate.write=/data/scores.parquet
  python -m jobs.evaluate configs/aishell2.yaml

Run jobs.transcribe first. The character error rate (CER) is the share of the references' characters that had to be
substituted, deleted or inserted; the word error rate (WER) is the same for words between spaces. A recording that could
not be transcribed counts with all its characters deleted. One that cannot be compared is named, the others are, and the
exit status is 1. evaluate.group is folder, none, a column, or a field that came with the audio. Intervals are 95 %
confidence intervals (bootstrap over recordings). For the folders of AISHELL-2, the six columns of the model card are
shown. All keys are described in docs/configuration.md. The last line of standard output is one JSON object.
"""
CONDITIONS, SETS = ("iOS", "Android", "Mic"), ("dev", "test")  # of AISHELL-2, in the order of the model card
COUNTS = ("tokens", "substitutions", "deletions", "insertions", "errors")
ROWS_AT_ONCE = 20_000
MAX_GROUPS = 40  # in the table on standard error
FAILED_RECORDINGS = "recordings that could not be compared"

_SCORES = pa.schema(
    [
        ("recording_id", pa.string()),
        ("uri", pa.string()),
        ("member", pa.string()),
        ("offset_s", pa.float64()),
        ("stretch_s", pa.float64()),
        ("channel", pa.int16()),
        ("group", pa.string()),
        ("reference", pa.string()),
        ("transcript", pa.string()),
        ("error_kind", pa.string()),
        *((f"{unit}_{name}", pa.int32()) for unit in ("character", "word") for name in COUNTS),
    ]
)
Score = dict[str, object]  # a row of it


@dataclass
class Group:
    """Scores of a group: its edits by characters and by words, and the errors and length of each recording."""

    recordings: int = 0
    characters: Edits = field(default_factory=Edits)
    words: Edits = field(default_factory=Edits)
    errors: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def add(self, characters: Edits, words: Edits) -> None:
        self.recordings += 1
        self.characters, self.words = self.characters + characters, self.words + words
        self.errors.append(characters.errors)
        self.lengths.append(characters.tokens)

    def rates(self, samples: int) -> "Rates":
        """Its error rates, with a confidence interval from so many samples."""
        low, high = interval(self.errors, self.lengths, samples)
        cer, wer = _rounded(self.characters.rate), _rounded(self.words.rate)
        return Rates(self.recordings, cer, (round(low, 5), round(high, 5)), self.characters, wer, self.words)


@dataclass(frozen=True)
class Rates:
    """A group's error rates and edits, as in the summary."""

    recordings: int
    cer: float | None
    interval: tuple[float, float]
    characters: Edits
    wer: float | None
    words: Edits


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.evaluate", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    policy = config.evaluate
    normalisation = Normalisation(policy.width, policy.case, policy.punctuation, policy.spaces, policy.digits)
    groups, confusions, counts = defaultdict[str, Group](Group), Counter[tuple[str, str]](), Counter[str]()
    worst, line, problems, failed = list[tuple[int, Score]](), StatusLine(), list[str](), Failures()
    with _writer(config) as write:
        for transcript in conversations(transcripts(config, problems), have_one_reference):
            if transcript.fault:
                failed.add(transcript.first["recording_id"], transcript.fault)
                continue
            if not transcript.first["reference"]:
                counts["without_reference"] += 1
                continue
            try:
                name = _group_of(transcript, policy.group)
                score, characters, words = _score(transcript, normalisation, name, confusions)
            except Exception as problem:  # noqa: BLE001 - of this recording: nothing is stored here
                failed.add(transcript.first["recording_id"], problem)
                continue
            counts["with_error"] += not transcript.is_transcribed
            groups[name].add(characters, words)
            write(score)
            if characters.errors:
                worst = sorted([*worst, (characters.errors, score)], key=lambda each: -each[0])[: policy.shown]
            line.say(f"{groups[name].recordings:,} recordings of {name} …")
    line.clear()
    if not groups and not failed.count and not problems:
        raise ConfigError("output.uri: no recording has a reference to compare with")
    rates = {name: group.rates(policy.bootstrap) for name, group in sorted(groups.items())}
    overall = _merged(groups.values()).rates(policy.bootstrap)
    _show(rates, overall, [score for _, score in worst], confusions.most_common(policy.shown), counts)
    failed.show(FAILED_RECORDINGS)
    print_json(
        {
            "groups": {name: asdict(each) for name, each in rates.items()},
            "all": asdict(overall),
            "normalisation": asdict(normalisation),
            **{name: counts[name] for name in ("without_reference", "with_error")},
            "failed": failed.count,
            "failures": failed.to_dicts(),
        }
    )
    status = report_problems(problems)
    return FAILED if failed.count else status


def _score(
    transcript: Transcript, normalisation: Normalisation, group: str, confusions: Counter[tuple[str, str]]
) -> tuple[Score, Edits, Edits]:
    """Scores a recording: its row of scores, and its edits by characters and by words."""
    first, spaced = transcript.first, replace(normalisation, spaces=False)
    reference, hypothesis = normalise(first["reference"], spaced), normalise(transcript.text, spaced)
    words = compare(reference.split(), hypothesis.split())
    if normalisation.spaces:
        reference, hypothesis = reference.replace(" ", ""), hypothesis.replace(" ", "")
    characters = compare(reference, hypothesis, confusions)
    row: Score = {name: first[name] for name in ("recording_id", *KEY, "error_kind")}
    row |= {"channel": None} if transcript.is_dialogue else {}
    row |= {"group": group, "reference": reference, "transcript": hypothesis}
    for unit, edits in (("character", characters), ("word", words)):
        row |= {f"{unit}_{name}": getattr(edits, name) for name in COUNTS}
    return row, characters, words


def _group_of(transcript: Transcript, group: str) -> str:
    if group == "none":
        return "all"
    known = transcript.first | transcript.fields
    if group == "folder" and "folder" not in known:
        return os.path.basename(os.path.dirname(str(transcript.first["uri"])))
    return escape_surrogates(
        without_credentials(str(known.get(group, "(none)")))
    )  # it is printed, and a key of the JSON


def _merged(groups: Iterable[Group]) -> Group:
    whole = Group()
    for group in groups:
        whole.recordings += group.recordings
        whole.characters, whole.words = whole.characters + group.characters, whole.words + group.words
        whole.errors += group.errors
        whole.lengths += group.lengths
    return whole


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 6)


def _show(
    groups: Mapping[str, Rates],
    whole: Rates,
    worst: Sequence[Score],
    confusions: Sequence[tuple[tuple[str, str], int]],
    counts: Mapping[str, int],
) -> None:
    """Prints the tables."""
    header = ("group", "recordings", "characters", "CER", "95 % interval", "S", "D", "I", "WER")
    shown = dict(islice(groups.items(), MAX_GROUPS)) | ({"all": whole} if len(groups) > 1 else {})
    if shown:
        show_table("Error rates", header, [_row(name, each) for name, each in shown.items()])
    columns = {f"{part} {name}": _condition(groups, name, part) for name in CONDITIONS for part in SETS}
    if all(columns.values()):
        cells = ["" if each.cer is None else f"{100 * each.cer:.1f}" for each in columns.values() if each]
        show_table("AISHELL-2, CER in %", columns, [cells])
    if worst:
        names = ("recording_id", "character_errors", "reference", "transcript")
        rows = [[each[name] for name in names] for each in worst]
        show_table("Recordings with the most errors", ("recording", "errors", "reference", "transcript"), rows)
    if confusions:
        counted = [(reference or "∅", actual or "∅", count) for (reference, actual), count in confusions]
        show_table("Most frequent errors", ("reference", "transcript", "times"), counted)
    for name, phrase in (
        ("without_reference", "have no reference"),
        ("with_error", "have an error and count as deleted"),
    ):
        if counts[name]:
            say(f"{counts[name]} recordings {phrase}")


def _row(name: str, group: Rates) -> tuple[object, ...]:
    edits = group.characters
    is_spaced = group.words.tokens > 1.5 * group.recordings  # else the text has no spaces between words
    cer = "" if group.cer is None else f"{group.cer:.2%}"
    wer = f"{group.wer:.2%}" if is_spaced else ""
    between = "{:.2%} to {:.2%}".format(*group.interval)
    counts = (edits.substitutions, edits.deletions, edits.insertions)
    return name, group.recordings, edits.tokens, cer, between, *counts, wer


def _condition(groups: Mapping[str, Rates], condition: str, part: str) -> Rates | None:
    """The group of a condition and set of AISHELL-2, found by the folders in its name."""
    folders = {condition.lower(), part}
    return next((each for name, each in groups.items() if folders <= set(name.lower().split("/"))), None)


@contextmanager
def _writer(config: Config) -> Iterator[Callable[[Score], None]]:
    """A function that takes rows of scores, and writes them to the file evaluate.write if that is set."""
    if not config.evaluate.write:
        yield lambda row: None
        return
    place = Place.at(config.evaluate.write, config.output.options())
    rows = list[Score]()
    with atomic_file(place) as file, pq.ParquetWriter(file, _SCORES) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCORES))
            rows.clear()

        def write(row: Score) -> None:
            rows.append(row)
            if len(rows) >= ROWS_AT_ONCE:
                flush()

        yield write
        flush()


if __name__ == "__main__":
    exit_process(main())
