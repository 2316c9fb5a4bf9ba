"""Tables of error rates."""

from collections.abc import Mapping, Sequence
from itertools import islice

from jobs.cli.terminal import say, show_table
from jobs.transcripts.paired import Paired
from jobs.transcripts.phrase_scores import PhraseRates
from jobs.transcripts.rates import Rates
from jobs.transcripts.scores import Score

CONDITIONS, SETS = ("iOS", "Android", "Mic"), ("dev", "test")  # of AISHELL-2, in the order of the model card
MAX_GROUPS = 40  # in the table
SIGNIFICANT = 0.05  # a p-value below it


def show_rates(
    groups: Mapping[str, Rates],
    whole: Rates,
    worst: Sequence[Score],
    confusions: Sequence[tuple[tuple[str, str], int]],
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


def show_phrases(rates: PhraseRates) -> None:
    counts = (rates.in_references, rates.hits, rates.misses, rates.false_alarms)
    recall = _share(rates.recall, rates.recall_interval)
    precision = _share(rates.precision, rates.precision_interval)
    header = ("phrases", "of them in references", "occurrences", "found", "missed", "false alarms", "recall")
    show_table("Phrases", (*header, "precision"), [(rates.phrases, rates.occurring, *counts, recall, precision)])
    if rates.worst:
        rows = [
            (each.phrase, each.line, each.in_references, each.hits, each.misses, each.false_alarms)
            for each in rates.worst
        ]
        columns = ("phrase", "line", "occurrences", "found", "missed", "false alarms")
        show_table("Phrases with the most errors", columns, rows)


def _share(rate: float | None, between: tuple[float, float] | None) -> str:
    return "" if rate is None or between is None else "{:.2%} ({:.2%} to {:.2%})".format(rate, *between)


def show_paired(paired: Paired, here: str, there: str) -> None:
    rows = [("this", here, f"{paired.cer_here:.2%}"), ("the other", there, f"{paired.cer_there:.2%}")]
    show_table(f"Two outputs on {paired.recordings:,} recordings", ("output", "", "CER"), rows)
    points, low, high = (f"{100 * each:+.2f}" for each in (paired.difference, *paired.interval))
    say(
        f"difference {points} points (95 % interval {low} to {high}), p = {paired.p_value:.4f}:"
        f" {_verdict(paired)}; fewer errors here in {paired.better:,} recordings, more in {paired.worse:,},"
        f" as many in {paired.equal:,}"
    )
    for count, what in (
        (paired.only_here, "are only in this output"),
        (paired.only_there, "are only in the other output"),
        (paired.other_references, "have another reference there"),
    ):
        if count:
            say(f"{count:,} recordings {what}, and are left out of the comparison")


def _verdict(paired: Paired) -> str:
    if paired.p_value >= SIGNIFICANT:
        return "may be by chance"
    return "this output is better" if paired.difference < 0 else "the other output is better"


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
