"""Compares committed transcripts with the references that came with their audio: error rates and frequent errors."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from actors.schema import UsageError
from actors.storage.fetched import fetch_file, resolve_file
from actors.storage.place import Place
from actors.storage.preflight import check_storage, check_target
from actors.storage.urls import is_web
from actors.text.normalise import Normalisation
from actors.text.phrases import MAX_BYTES, read_phrases
from jobs.cli.command import FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import StatusLine, print_json, say
from jobs.transcripts.failures import Failures
from jobs.transcripts.groups import Groups
from jobs.transcripts.paired import ErrorsByKey, Paired, pair
from jobs.transcripts.phrase_scores import PhraseScores
from jobs.transcripts.rate_tables import show_paired, show_phrases, show_rates
from jobs.transcripts.rates import Group, merged
from jobs.transcripts.read import report_problems, transcripts, transcripts_in
from jobs.transcripts.scores import Account, compared, scores_file
from jobs.transcripts.worst import Worst

EPILOG = """
examples:
  python -m jobs.evaluate configs/demo.yaml
  python -m jobs.evaluate configs/demo.yaml evaluate.group=speaker evaluate.shown=50
  python -m jobs.evaluate configs/demo.yaml evaluate.write=/data/scores.parquet
  python -m jobs.evaluate configs/demo.yaml evaluate.phrases=names.txt
  python -m jobs.evaluate configs/demo.yaml evaluate.against=/data/transcripts-before
  python -m jobs.evaluate configs/aishell2.yaml

Run jobs.transcribe first. The character error rate (CER) is the share of the references' characters that had to be
substituted, deleted or inserted; the word error rate (WER) is the same for words between spaces. With
evaluate.digits=spoken, references such as 2026年 and 30.5% are read aloud first (Mandarin). A recording that could not
be transcribed counts with all its characters deleted. One that cannot be compared is named, the others are, and the
exit status is 1. Where texts differ, and when, is shown with output.show=true. evaluate.group is folder, none, a
column, or a field that came with the audio. Intervals are 95 % confidence intervals: a bootstrap over recordings;
Wilson's if all have the same rate, as without errors; none for fewer than five. For the folders of AISHELL-2, the six
columns of the model card are shown. With evaluate.phrases, recall is the share of the phrases in references that
transcripts have, and precision the share of those in transcripts that are right. With evaluate.against, another output
of the same audio is compared with this one, recording by recording: the difference of their CERs, its interval, and how
likely it is by chance (p). All keys are described in docs/configuration.md. The last line of standard output is one
JSON object.
"""
FAILED_RECORDINGS = "recordings that could not be compared"
AGAINST, PHRASES, WRITE = "evaluate.against", "evaluate.phrases", "evaluate.write"


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.evaluate", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    policy = config.evaluate
    options, normalisation = policy.options() or config.output.options(), policy.normalisation
    target = Place.at(policy.write, options) if policy.write else None
    if target:
        check_target(target, WRITE)
    phrases = _phrases(policy.phrases, options, normalisation) if policy.phrases else None
    other = _read_other(config, policy.against, options, normalisation) if policy.against else None
    here = ErrorsByKey()
    groups, confusions = defaultdict[str, Group](Group), Counter[tuple[str, str]]()
    account, line, problems = Account(Failures(kept=policy.shown)), StatusLine(), list[str]()
    group_of = Groups(policy.group, may_show=config.output.show)
    worst = Worst(policy.shown, normalisation, has_differences=config.output.show)
    with scores_file(target) as write:
        found = transcripts(config, problems, group_of.columns)
        for each in compared(found, normalisation, group_of, account, confusions):
            groups[each.group].add(each.characters, each.words)
            write(each.score)
            worst.add(each)
            if phrases:
                phrases.add(each.reference_words, each.transcript_words)
            if other:
                here.add(each)
            line.say(f"recordings of {each.group}: {groups[each.group].recordings:,} …")
        line.clear()
        if groups:
            group_of.check()
    if not groups and not account.failed.count and not problems:
        raise ConfigError("output.uri: no recording has a reference to compare with")
    paired = _pair(here, other, policy.bootstrap) if other else None
    rates = {name: group.rates(policy.bootstrap) for name, group in sorted(groups.items())}
    overall = merged(groups.values()).rates(policy.bootstrap)
    show_rates(rates, overall, worst, confusions, policy.shown)
    summary: dict[str, object] = {
        "groups": {name: asdict(each) for name, each in rates.items()},
        "all": asdict(overall),
        "normalisation": asdict(normalisation),
    }
    if phrases:
        phrase_rates = phrases.rates(policy.bootstrap, policy.shown)
        show_phrases(phrase_rates)
        summary["phrases"] = asdict(phrase_rates)
    if other and paired:
        show_paired(paired, config.output.place().uri, other.place.uri)
        summary["against"] = {"uri": other.place.uri, **asdict(paired), "failed": other.account.failed.count}
    if normalisation.digits == "spoken":
        say("evaluate.digits=spoken: digits were read aloud before the texts were compared")
    _say_counts(account)
    account.failed.show(FAILED_RECORDINGS, "evaluate.shown")
    print_json(
        summary
        | {
            "without_reference": account.without_reference,
            "with_error": account.with_error,
            "failed": account.failed.count,
            "failures": account.failed.to_dicts(),
        }
    )
    status = report_problems(problems)
    if other:
        other.account.failed.show(f"{FAILED_RECORDINGS}, of {AGAINST}")
        status = max(status, report_problems(other.problems, AGAINST), FAILED * bool(other.account.failed.count))
    return FAILED if account.failed.count else status


def _say_counts(account: Account) -> None:
    if account.without_reference:
        say(f"{account.without_reference} recordings have no reference")
    if account.with_error:
        say(f"{account.with_error} recordings have an error and count as deleted")


def _phrases(uri: str, options: Mapping[str, object], normalisation: Normalisation) -> PhraseScores:
    """The phrases of a file, of which none have been counted. Raises ConfigError or UsageError, and
    OSError if the storage fails."""
    file = resolve_file(uri, options, PHRASES, MAX_BYTES)
    path = fetch_file(file)
    try:
        scores = PhraseScores(read_phrases(path), normalisation)
    except UsageError as problem:
        raise ConfigError(f"{PHRASES}: {file.place.described}: {problem}") from None
    for each in scores.empty[:1]:
        say(f"{PHRASES}: phrases of which nothing is left: {len(scores.empty):,}, first in line {each.line}")
    return scores


@dataclass
class _Other:
    """Another output of the same audio, and the errors in it."""

    place: Place
    errors: ErrorsByKey = field(default_factory=ErrorsByKey)
    account: Account = field(default_factory=Account)
    problems: list[str] = field(default_factory=list)


def _read_other(config: Config, uri: str, options: Mapping[str, object], normalisation: Normalisation) -> _Other:
    """Reads the output evaluate.against. Raises ConfigError if that is the same or none, and what `transcripts_in`
    does."""
    if is_web(uri):
        raise ConfigError(
            f"{AGAINST}: an output cannot be listed over HTTP; give a folder, or the storage's URL (s3://…)"
        )
    other, own = _Other(Place.at(uri, options)), config.output.place()
    if _real(other.place) == _real(own):
        raise ConfigError(f"{AGAINST}: {other.place.uri} is output.uri itself; give another output of the same audio")
    check_storage(other.place / "_", AGAINST, must_list=True)
    line = StatusLine()
    found = transcripts_in(other.place, AGAINST, other.problems)
    for number, each in enumerate(compared(found, normalisation, Groups("none"), other.account), 1):
        other.errors.add(each)
        line.say(f"recordings of {AGAINST}: {number:,} …")
    line.clear()
    return other


def _real(place: Place) -> str:
    return os.path.realpath(place.path) if place.is_local else place.uri.rstrip("/")


def _pair(here: ErrorsByKey, other: _Other, samples: int) -> Paired:
    paired = pair(here, other.errors, samples)
    if paired is None:
        raise ConfigError(
            f"{AGAINST}: {other.place.uri} has no recording with a reference in common with output.uri; the two must be"
            " of the same input, with the same references and audio.channel"
        )
    return paired


if __name__ == "__main__":
    exit_process(main())
