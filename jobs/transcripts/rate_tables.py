"""Tables of error rates."""

from collections import Counter
from collections.abc import Mapping, Sequence

from jobs.cli.config_of_jobs import MAX_SHOWN
from jobs.cli.terminal import say, show_table
from jobs.transcripts.paired import Paired
from jobs.transcripts.phrase_scores import PhraseRates
from jobs.transcripts.rates import Rates
from jobs.transcripts.worst import DIFFERENCES, Worst, Wrong

CONDITIONS, SETS = ("iOS", "Android", "Mic"), ("dev", "test")  # of AISHELL-2, in the order of the model card
MIN_GROUPS = 40  # in the table, if there are as many
SIGNIFICANT = 0.05  # a p-value below it
MIN_DIFFERING = 6  # recordings: of five that differ, all for the better, p is 2 of 32, which is not below it
NONE = "–"  # there is no such interval or rate


def show_rates(
    groups: Mapping[str, Rates], whole: Rates, worst: Worst, confusions: Counter[tuple[str, str]], shown: int
) -> None:
    """Prints the tables, and a line that names the key for more of them."""
    _show_groups(groups, whole, shown)
    columns = {f"{part} {name}": _condition(groups, name, part) for name in CONDITIONS for part in SETS}
    if all(columns.values()):
        cells = ["" if each.cer is None else f"{100 * each.cer:.1f}" for each in columns.values() if each]
        show_table("AISHELL-2, CER in %", columns, [cells])
    _show_wrong("Recordings with the most errors", worst.by_errors, worst.count)
    _show_wrong("Recordings with the highest error rates", worst.by_rate, worst.count)
    differences = worst.differences
    if differences:
        rows = [(found.at, found.text, each.name) for each, found in differences]  # long names are cut first
        title = _counted("Differences in these recordings", len(rows), worst.differences_in_all)
        show_table(title, ("at", "[reference→transcript]", "recording"), rows)
    commonest = sorted(confusions.items(), key=lambda each: (-each[1], each[0]))[:shown]
    if commonest:
        counted = [(reference or "∅", actual or "∅", count) for (reference, actual), count in commonest]
        title = _counted("Most frequent errors", len(counted), len(confusions))
        show_table(title, ("reference", "transcript", "times"), counted)
    if worst.by_errors and not worst.has_differences:
        say("output.show=true shows where they differ, which may be private")
    wanted = max(worst.count, -(-worst.differences_in_all // DIFFERENCES), len(confusions), len(groups) - MIN_GROUPS)
    if wanted > shown:
        say_more(wanted)


def say_more(wanted: int) -> None:
    """Names the key that shows more, for so many rows."""
    say(f"evaluate.shown={min(wanted, MAX_SHOWN)} shows more; evaluate.write=FILE.parquet writes every recording")


def _counted(title: str, shown: int, count: int) -> str:
    return title if shown >= count else f"{title} ({shown:,} of {count:,})"


def _show_groups(groups: Mapping[str, Rates], whole: Rates, shown: int) -> None:
    """The rates of all groups, or of those with the most errors."""
    by_errors = sorted(groups, key=lambda name: (-groups[name].characters.errors, name))
    names = sorted(by_errors[: max(shown, MIN_GROUPS)])
    rows = [(name, groups[name]) for name in names] + ([("all", whole)] if len(groups) > 1 else [])
    if not rows:
        return
    has_words = any(_has_words(each) for _, each in rows)
    header = ("group", "recordings", "characters", "CER", "95 %", "S", "D", "I", *(["WER"] if has_words else ()))
    title = "Error rates" if len(names) == len(groups) else f"Error rates ({len(names)} of {len(groups):,} groups,"
    title += "" if len(names) == len(groups) else " those with the most errors)"
    cells = [_row(name, each)[: len(header)] for name, each in rows]
    show_table(title, header, cells, spare=("S", "D", "I", "recordings"))


def _show_wrong(title: str, recordings: Sequence[Wrong], count: int) -> None:
    if recordings:
        rows = [
            (each.name, each.errors, each.characters, f"{each.rate:.2%}" if each.characters else NONE)
            for each in recordings
        ]
        columns = ("recording", "errors", "characters", "CER")
        show_table(_counted(title, len(rows), count), columns, rows)


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
        show_table(_counted("Phrases with the most errors", len(rows), rates.with_errors), columns, rows)
        if rates.with_errors > len(rows):
            say(f"evaluate.shown={min(rates.with_errors, MAX_SHOWN)} shows more")


def _share(rate: float | None, between: tuple[float, float] | None) -> str:
    if rate is None:
        return NONE
    return f"{rate:.2%}" + (f" ({_between(between)})" if between else "")


def _between(interval: tuple[float, float] | None) -> str:
    return NONE if interval is None else f"{100 * interval[0]:.2f}–{interval[1]:.2%}"


def show_paired(paired: Paired, here: str, there: str) -> None:
    rows = [("this", f"{paired.cer_here:.2%}", here), ("the other", f"{paired.cer_there:.2%}", there)]
    show_table(f"Two outputs on {paired.recordings:,} recordings", ("output", "CER", ""), rows)
    between = "" if paired.interval is None else " (95 % interval {:+.2f} to {:+.2f})"
    between = between.format(*(100 * each for each in paired.interval or ()))
    say(
        f"difference {100 * paired.difference:+.2f} points{between}, p = {paired.p_value:.4f}:"
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
    if not paired.better + paired.worse:
        return "no recording has more errors in one than in the other"
    if paired.p_value >= SIGNIFICANT:
        is_small = paired.better + paired.worse < MIN_DIFFERING
        return "too few recordings differ to tell" if is_small else "may be by chance"
    return "this output is better" if paired.difference < 0 else "the other output is better"


def _row(name: str, group: Rates) -> tuple[object, ...]:
    edits = group.characters
    cer, wer = (NONE if rate is None else f"{rate:.2%}" for rate in (group.cer, group.wer))
    counts = (edits.substitutions, edits.deletions, edits.insertions)
    of = (name, group.recordings, edits.tokens)
    return *of, cer, _between(group.interval), *counts, wer if _has_words(group) else ""


def _has_words(group: Rates) -> bool:
    """Whether its texts have spaces between words, so that there is a word error rate."""
    return group.words.tokens > 1.5 * group.recordings


def _condition(groups: Mapping[str, Rates], condition: str, part: str) -> Rates | None:
    """The group of a condition and set of AISHELL-2, found by the folders in its name."""
    folders = {condition.lower(), part}
    return next((each for name, each in groups.items() if folders <= set(name.lower().split("/"))), None)
