"""Aligns references to what was heard: the times of their words, and scores that tell which of them do not fit."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from actors.engine.models import read_vocabulary, resolve
from actors.parts.stored import Commit
from actors.schema import MachineError
from actors.storage import listing
from actors.storage.place import Place
from actors.text.forced import Unaligned
from jobs.cli.command import FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import StatusLine, print_json, say, show_table
from jobs.transcripts.aligned import aligned_folder, unit_of_aligned
from jobs.transcripts.aligning import Aligned, PartAligner
from jobs.transcripts.heard import committed_parts
from jobs.transcripts.read import report_problems

EPILOG = """
examples:
  python -m jobs.transcribe configs/demo.yaml output.emissions=true
  python -m jobs.align configs/demo.yaml output.emissions=true
  python -m jobs.export configs/demo.yaml export.text=reference export.format=textgrid

Run jobs.transcribe with output.emissions=true first: references are aligned to what the model said of each frame, and
no audio is read. The times of each token and word, and a score of each segment, are written as Parquet to _align below
the output, or to align.uri. A score is 0 where the reference is what the model hears, and falls by 5 to 15 nats a token
where it is not; segments below align.min_score are counted. All keys are described in docs/configuration.md. The last
line of standard output is one JSON object.
"""
FEW_PARTS = 8  # that are aligned in this process: others take seconds to begin
_WHY = {
    Unaligned.UNSPELLABLE: "cannot be spelled",
    Unaligned.TOO_LONG: "too long for their sound",
    Unaligned.UNLIKE: "long, and unlike what is heard",
    Unaligned.NOT_HEARD: "of what was not heard",
    Unaligned.OF_ALL_CHANNELS: "of several channels at once",
}


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.align", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    policy, folder, line = config.align, aligned_folder(config), StatusLine()
    output, commits = committed_parts(config)
    model = resolve(config.model.name, config.model.revision, config.model.options())
    aligner = PartAligner(read_vocabulary(model), model.sha256, output, folder, policy.shown, policy.min_score)
    done = Aligned(policy.shown, policy.min_score)
    for number, part in enumerate(_results(aligner, commits), 1):
        done += part
        line.say(f"parts {number:,}/{len(commits):,} · {done.counts['aligned']:,} references …")
    line.clear()
    done.kept.check(output, done.problems)
    _check(config, done)
    _sweep(folder, done.files, is_own=policy.uri is None)
    show_aligned(done, folder, config.output.show)
    status = report_problems(done.problems)
    return FAILED if done.failed.count else status


def _results(align: Callable[[Commit], Aligned], commits: Sequence[Commit]) -> Iterator[Aligned]:
    """What is aligned in each part, on all CPUs: much of it is work with texts, which threads do not share."""
    processes = min(len(os.sched_getaffinity(0)), len(commits) // FEW_PARTS)
    if processes < 2:
        yield from map(align, commits)
        return
    context = get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(processes, context, _begin, (align,)) as pool:
        try:
            yield from pool.map(_align, commits)
        except BrokenProcessPool:
            raise MachineError("a process that aligned references was ended, perhaps for lack of memory") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_ALIGNERS = list[Callable[[Commit], Aligned]]()  # of a process of the pool: one


def _begin(align: Callable[[Commit], Aligned]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to all; the job itself ends them
    _ALIGNERS.append(align)


def _align(commit: Commit) -> Aligned:
    return _ALIGNERS[0](commit)


def _check(config: Config, done: Aligned) -> None:
    """Raises ConfigError if nothing was there to align; adds what was heard by another model to the problems."""
    counts, problems = done.counts, done.problems
    is_any = any(counts[each] for each in ("aligned", *Unaligned))
    if counts["of_other_model"]:
        told = f"{counts['of_other_model']} recordings were heard by another model than model.name, {config.model.name}"
        if not is_any:
            raise ConfigError(f"model.name: {told}; name theirs")
        problems.append(f"{told}, and are left out")
    if not is_any and not done.failed.count and not problems:
        raise ConfigError("output.uri: no recording has a reference to align")


def _sweep(folder: Place, written: dict[str, str], is_own: bool) -> None:
    """Removes what earlier runs wrote of other versions of the parts; in a folder of the output's own, also of parts
    that are no longer there."""
    for name in listing.names(folder, "aligned-"):
        unit = unit_of_aligned(name)
        if unit and written.get(unit) != name and (is_own or unit in written):
            (folder / name).delete()


def show_aligned(done: Aligned, folder: Place, shows: bool) -> None:
    """Prints the tables, with texts if it `shows` them, and the JSON."""
    counts, quantiles = done.counts, done.quantiles()
    rows: list[Sequence[object]] = [("recordings", counts["aligned"]), ("segments with a score", len(done.scores))]
    rows += [(f"segments below {done.min_score:g}, suspicious", counts["suspicious"])]
    rows += [(what, counts[why]) for why, what in _WHY.items() if counts[why]]
    rows += [("without a reference", counts["without_reference"])] if counts["without_reference"] else []
    show_table("Aligned references", ("", ""), [*rows, ("written to", folder.uri)])
    if quantiles:
        shares = [(f"{float(share):.1%}", score) for share, score in quantiles.items()]
        show_table("Scores, in nats a token", ("segments", "below"), shares)
    if done.lowest:
        lowest = [
            (each.recording_id, each.segment_index, f"{-each.lowness:.2f}", *(each.reference, each.transcript) * shows)
            for each in sorted(done.lowest, reverse=True)
        ]
        columns = ("recording", "segment", "score", *("reference", "transcript") * shows)
        below = "" if shows else "their texts are not shown here; output.show=true shows them"
        show_table("Segments with the lowest scores", columns, lowest, below)
    if counts["left_out"]:
        say(
            f"{counts['left_out']} characters of {counts['with_left_out']} references were left out: the model's"
            " vocabulary cannot write them"
        )
    done.failed.show("recordings that could not be aligned")
    print_json(
        {
            "recordings": counts["aligned"],
            "segments": len(done.scores),
            "suspicious": counts["suspicious"],
            "min_score": done.min_score,
            "scores": quantiles,
            "unaligned": {str(why): counts[why] for why in Unaligned},
            **{name: counts[name] for name in ("without_reference", "of_other_model", "left_out")},
            "failed": done.failed.count,
            "failures": done.failed.to_dicts(),
            "align": folder.uri,
        }
    )


if __name__ == "__main__":
    exit_process(main())
