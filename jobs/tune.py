"""Finds the weights of a language model and of phrases: those with the fewest errors on recordings with references."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from actors.engine.models import read_vocabulary, resolve
from actors.engine.vocabulary import Vocabulary
from actors.foreign.errors import InvalidData
from actors.text.decoding import DecodingSettings, load_decoder
from jobs.cli.command import DONE, FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.kinds import as_yaml
from jobs.cli.terminal import StatusLine, print_json, say, show_table
from jobs.planning.decoding import notes_of, resolve_decoding, say_what_takes_time
from jobs.transcripts.failures import Failures
from jobs.transcripts.heard import HeardRecording, Kept, committed_parts, heard_in_parts
from jobs.transcripts.read import report_problems
from jobs.transcripts.scoring import Interval, interval
from jobs.transcripts.tuning import Sample, Tried, sample_of, size_of, sized, with_channels
from jobs.transcripts.weight_search import LM_AXES, PHRASE_AXES, Axis, Weights, WeightSearch

EPILOG = """
examples:
  python -m jobs.tune configs/local.yaml decoding.lm=domain.arpa
  python -m jobs.tune configs/local.yaml decoding.lm=domain.arpa decoding.phrases=names.txt tune.hours=20
  python -m jobs.tune configs/demo_lm.yaml

Run jobs.transcribe first, with output.emissions=true, on audio that has references: neither the audio nor a GPU is
needed again, and nothing is written. Recordings are split in two halves by a hash of their references, so that no
sentence is in both. Weights are searched on one: a grid, coarse to fine, then smaller steps around its best. The other
tells what they bring, with 95 % confidence intervals (bootstrap over recordings). It is flattered by a language model
that was trained on the same references: train one without that half (language_model.held_back=leave_out, the default),
tune, then train again with language_model.held_back=use. Texts are compared as jobs.evaluate compares them, by its keys
evaluate.width and so on. A few hundred recordings that are like those to be transcribed are enough, and a few dozen too
few. All keys are described in docs/configuration.md. The last line of standard output is one JSON object.
"""
FAILED_RECORDINGS = "recordings that could not be used"
NO_REFERENCE, NO_EMISSIONS = "have no reference", "have no emissions"
GREEDY, DEFAULTS, CONFIGURED, TUNED = "greedy", "defaults", "as configured", "tuned"


class Measured(NamedTuple):
    """What some weights bring: the character error rate on the half that was searched, and on the one held back, with
    its confidence interval, with how that was found; None where none can be given."""

    weights: Weights | None
    cer_of_search: float
    cer: float
    interval: tuple[float, float] | None
    interval_method: str | None


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.tune", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    if not (config.decoding.lm or config.decoding.phrases):
        raise ConfigError(
            "decoding.lm: neither it nor decoding.phrases is set, so there are no weights to tune; name a language"
            " model (jobs.language_model makes one of texts), or a file of phrases"
        )
    settings = resolve_decoding(config)
    model = resolve(config.model.name, config.model.revision, config.model.options())
    vocabulary = read_vocabulary(model)
    for note in notes_of(config.decoding, load_decoder(settings, vocabulary)):
        say(note, "yellow")
    say_what_takes_time(settings)
    with Tried(settings, vocabulary, config.evaluate.normalisation, _threads(config)) as tried:
        groups = _groups(settings, tried)
        return _tune(config, settings, tried, groups, _find(config, model.sha256, vocabulary))


def _groups(settings: DecodingSettings, tried: Tried) -> list[Sequence[Axis]]:
    """The axes of weights that change anything. Raises ConfigError if there is none."""
    groups: list[Sequence[Axis]] = [LM_AXES] if settings.lm else []
    if not settings.phrases:
        return groups
    if tried.is_phrase_weight_used:
        return [*groups, PHRASE_AXES]
    why = "each phrase that the model can write has a weight of its own, so decoding.phrase_weight changes nothing"
    if not groups:
        raise ConfigError(f"decoding.phrases: {why}, and there is no weight to tune; leave the weights after tabs out")
    say(f"decoding.phrases: {why} and is not searched", "yellow")
    return groups


def _tune(
    config: Config, settings: DecodingSettings, tried: Tried, groups: Sequence[Sequence[Axis]], found: "Found"
) -> int:
    """Searches, measures and tells. Returns the exit status."""
    searched, held_back = ([each for each in found.samples if each.is_held_back == half] for half in (False, True))
    for why, count in (+found.left_out).items():
        say(f"{count} recordings {why} and are left out")
    found.failed.show(FAILED_RECORDINGS)
    status = FAILED if report_problems(found.problems) or found.failed.count else DONE
    if not searched or not held_back:
        raise ConfigError(_too_few(config, len(found.samples)))
    names = [axis.name for group in groups for axis in group]
    search = _search(tried, searched, settings, groups, config.tune.trials)
    measured = _measure(tried, searched, held_back, _chosen(settings, search.best), config.tune.bootstrap)
    _show_tried(search, searched, names, config.tune.shown)
    _show_measured(measured, held_back, names)
    _say_best(search.best, measured, names)
    print_json(
        {
            "output": config.output.place().uri,
            "decoding": settings.to_dict(),
            "best": {f"decoding.{name}": getattr(search.best, name) for name in names},
            "results": {name: _told(each, names) for name, each in measured.items()},
            "tried": [_named(each, names) | {"cer": _rate(search.found[each], searched)} for each in search.ranked()],
            "search": size_of(searched),
            "held_back": size_of(held_back),
            "left_out": dict(+found.left_out),
            "failed": found.failed.count,
            "failures": found.failed.to_dicts(),
        }
    )
    return status


@dataclass
class Found:
    """The recordings to tune on, and why others are not among them."""

    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failed: Failures = field(default_factory=Failures)
    left_out: Counter[str] = field(default_factory=Counter)


def _find(config: Config, model_sha256: str, vocabulary: Vocabulary) -> Found:
    """Finds recordings of a model to tune on, until there are tune.hours. Raises ConfigError if none has emissions."""
    found, kept, seconds, line = Found(), Kept(), 0.0, StatusLine()
    decoder, normalisation = vocabulary.decoder(), config.evaluate.normalisation
    output, commits = committed_parts(config)
    for channels in with_channels(heard_in_parts(output, commits, found.problems, kept)):
        if why := _unfit(channels, model_sha256):
            found.left_out[why] += 1
            continue
        try:
            sample = sample_of(channels, decoder, normalisation)
        except InvalidData as problem:
            found.failed.add(channels[0].first["recording_id"], str(problem))
            continue
        if not sample.reference:
            found.left_out[NO_REFERENCE] += 1
            continue
        found.samples.append(sample)
        seconds += sample.seconds
        line.say(f"{len(found.samples):,} recordings with references, {seconds / 3_600:.2f} h …")
        if seconds >= config.tune.hours * 3_600:
            break
    line.clear()
    if kept.recordings:
        found.left_out[NO_EMISSIONS] += kept.lacking
    else:
        kept.check(output, found.problems)
    return found


def _unfit(channels: Sequence[HeardRecording], model_sha256: str) -> str:
    """Why a recording cannot be tuned on; "" if it can."""
    rows = [row for each in channels for row in each.rows]
    if not rows[0]["reference"]:
        return NO_REFERENCE
    if any(row["error_kind"] for row in rows):
        return "have an error"
    if any(row["model_sha256"] != model_sha256 for row in rows):
        return "were heard by another model than model.name"
    return ""


def _too_few(config: Config, count: int) -> str:
    found = f"only {count} recordings" if count else "no recording"
    return (
        f"output.uri: {config.output.place().uri} has {found} with a reference and emissions of this model, and tuning"
        " needs hundreds, of different texts, so that each half has some; transcribe audio that has references, with"
        " output.emissions=true"
    )


def _threads(config: Config) -> int:
    return len(os.sched_getaffinity(0)) if config.tune.threads == "auto" else config.tune.threads


def _search(
    tried: Tried, samples: Sequence[Sample], settings: DecodingSettings, groups: Sequence[Sequence[Axis]], trials: int
) -> WeightSearch:
    """Searches the weights on samples."""
    line = StatusLine()

    def loss(weights: Weights) -> int:
        errors = sum(tried.errors(samples, weights))
        best = _rate(min([errors, *search.found.values()]), samples)
        line.say(f"{len(search.found) + 1} weights tried, of at most {trials}; best CER {best:.2%} …")
        return errors

    search = WeightSearch(loss, [_weights(DecodingSettings()), _weights(settings)], trials)
    search.run(groups)
    line.clear()
    return search


def _weights(settings: DecodingSettings) -> Weights:
    return Weights(settings.lm_weight, settings.token_bonus, settings.phrase_weight)


def _chosen(settings: DecodingSettings, best: Weights) -> dict[str, Weights | None]:
    """The weights to compare; None is the greedy text."""
    chosen: dict[str, Weights | None] = {GREEDY: None, DEFAULTS: _weights(DecodingSettings())}
    chosen |= {CONFIGURED: _weights(settings), TUNED: best}
    if chosen[CONFIGURED] == chosen[DEFAULTS]:
        del chosen[CONFIGURED]
    return chosen


def _measure(
    tried: Tried,
    searched: Sequence[Sample],
    held_back: Sequence[Sample],
    chosen: Mapping[str, Weights | None],
    bootstrap: int,
) -> dict[str, Measured]:
    """Measures weights on both halves."""
    measured, lengths = dict[str, Measured](), [len(each.reference) for each in held_back]
    for name, weights in chosen.items():
        rate = _rate(sum(tried.errors(searched, weights)), searched)
        errors = tried.errors(held_back, weights)
        between, method = Interval.described(interval(errors, lengths, bootstrap))
        measured[name] = Measured(weights, rate, _rate(sum(errors), held_back), between, method)
    return measured


def _rate(errors: int, samples: Sequence[Sample]) -> float:
    return round(errors / sum(len(each.reference) for each in samples), 6)


def _named(weights: Weights | None, names: Sequence[str]) -> dict[str, float]:
    return {} if weights is None else {name: getattr(weights, name) for name in names}


def _told(measured: Measured, names: Sequence[str]) -> dict[str, object]:
    """What was measured, as in the summary."""
    rates = {
        "search": {"cer": measured.cer_of_search},
        "held_back": {
            "cer": measured.cer,
            "interval": measured.interval,
            "interval_method": measured.interval_method,
        },
    }
    return _named(measured.weights, names) | rates


def _show_tried(search: WeightSearch, samples: Sequence[Sample], names: Sequence[str], shown: int) -> None:
    rows = [
        (*(f"{value:g}" for value in _named(each, names).values()), f"{_rate(search.found[each], samples):.2%}")
        for each in search.ranked()[:shown]
    ]
    title = f"The best {len(rows)} of {len(search.found)} weights tried on {sized(samples)}"
    show_table(title, (*names, "CER"), rows)


def _show_measured(measured: Mapping[str, Measured], samples: Sequence[Sample], names: Sequence[str]) -> None:
    greedy = measured[GREEDY].cer
    rows = list[tuple[str, ...]]()
    for name, each in measured.items():
        weights = _named(each.weights, names)
        change = f"{each.cer / greedy - 1:+.1%}" if greedy and each.weights else ""
        cells = (f"{each.cer:.2%}", "{:.1%} to {:.1%}".format(*each.interval) if each.interval else "–", change)
        rows.append((name, *(f"{weights[key]:g}" if weights else "" for key in names), *cells))
    columns = ("", *names, "CER", "95 % interval", "change")
    show_table(f"On those held back: {sized(samples)}", columns, rows)


def _say_best(best: Weights, measured: Mapping[str, Measured], names: Sequence[str]) -> None:
    """Prints the lines for the configuration, and a warning if they are no gain on what was held back."""
    for line in ("For the configuration:", "decoding:"):
        say(line)
    for name, value in _named(best, names).items():
        say(f"  {name}: {as_yaml(value)}")
    others = {name: each.cer for name, each in measured.items() if name != TUNED}
    name = min(others, key=lambda each: others[each])
    if others[name] <= measured[TUNED].cer and measured[name].weights != best:
        what = "leave decoding.lm and decoding.phrases out" if name == GREEDY else "keep those"
        say(f"On recordings that were held back they are no better than {name}: {what}, or tune on more", "yellow")


if __name__ == "__main__":
    exit_process(main())
