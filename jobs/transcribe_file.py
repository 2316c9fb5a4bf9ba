"""Transcribes a few files to standard output, at once: no Ray, no output folder."""

import argparse
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from actors.engine.models import read_vocabulary, resolve
from actors.foreign.escape import single_line
from actors.outcomes import Failed, Outcome, Recut
from actors.parts.recordings import are_channels
from actors.parts.stored import open_part, part_name, remove_unit
from actors.pieces import MAX_PIECES, Piece, cut_unit
from actors.schema import SAMPLE_RATE, UsageError, WarningKind
from actors.units import SourceObject, Unit, nominal_seconds
from actors.writer import WriteSettings
from jobs.cli.command import DONE, FAILED, OVERRIDE, exit_process, run_command
from jobs.cli.config import Config, ConfigError, Input
from jobs.cli.loading import load
from jobs.cli.terminal import StatusLine, print_json, print_text, say
from jobs.pipeline import graph_here
from jobs.planning.decoding import resolve_decoding, say_what_takes_time
from jobs.planning.listing import list_input
from jobs.planning.prepare import check
from jobs.planning.recipe import Devices, Recipe
from jobs.planning.sizing import planned_cut
from jobs.planning.verdicts import new_run_id
from jobs.planning.written import resolve_text
from jobs.transcripts.formats import json_lines, writer_of
from jobs.transcripts.read import Transcript, conversations, recordings_of
from jobs.transcripts.subtitles import SubtitleLayout
from jobs.transcripts.written import written_text

EPILOG = """
examples:
  python -m jobs.transcribe_file call.wav --model demo/citrinet_zh_demo.nemo
  python -m jobs.transcribe_file *.mp3 --config configs/local.yaml text.itn=zh > texts.tsv
  python -m jobs.transcribe_file film.mp4 --model MODEL --srt > film.srt

Each file becomes a line: its text, in the written form if text.itn or the like asks for one; of several files, the name
and a tab come first. A folder, a pattern, a tar or a manifest is as many recordings as it holds. --json has a line with
segments, times and confidences, --srt subtitles. The texts are those of jobs.transcribe; only input, output, unit and
ray of a configuration do not count here. For more than a few files use jobs.transcribe, which goes on where it stopped.

What a text lacks, as that of a file that broke off, is a sentence on standard error.

exit status: 0 done; 1 a file could not be transcribed, of which a sentence is on standard error, and the others were;
2 wrong usage or configuration.
"""
OUTPUT = "a transcript"  # as messages call what goes to standard output
WARNINGS: dict[str, str] = {
    WarningKind.ENDED_EARLY: "the sound ends before its header says; the text is of what came before",
    WarningKind.DAMAGED: "some of the sound could not be decoded, and is not in the text",
    WarningKind.NO_SUCH_CHANNEL: "it has one channel, which was taken",
    WarningKind.CHANNELS_CANCEL: "its channels cancel out somewhere; the text is of the loudest there",
}
_OVERRIDE = re.compile(r"[a-z_]+\.[\w.]+=")


def main(arguments: list[str] | None = None) -> int:
    return run_command("jobs.transcribe_file", __doc__, EPILOG, _add_arguments, run, arguments, ends_with_json=False)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help=f"audio, by path or URL; also {OVERRIDE}")
    parser.add_argument("-m", "--model", help="the model: a .nemo by path or URL, or a name on the Hugging Face hub")
    parser.add_argument("-c", "--config", help="a configuration, whose model and other settings are used")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="a line of JSON for each recording, with its segments")
    formats.add_argument("--srt", action="store_true", help="subtitles, of a single file")


def run(options: argparse.Namespace) -> int:
    """Transcribes the files one by one. Returns the exit status."""
    files = [each for each in options.files if not _is_override(each)]
    if not files:
        raise UsageError("no file is given")
    with tempfile.TemporaryDirectory(prefix="citrascribe-") as folder:
        config = _config(options, [each for each in options.files if _is_override(each)], folder)
        check(config)
        shown = "json" if options.json else "srt" if options.srt else "text"
        if shown == "srt" and len(files) > 1:
            raise UsageError("--srt writes the subtitles of one file; of more, use jobs.transcribe and jobs.export")
        return FileTranscriber(config, shown).transcribe(files)


def _is_override(argument: str) -> bool:
    return _OVERRIDE.match(argument) is not None and not os.path.lexists(argument)


def _config(options: argparse.Namespace, overrides: Sequence[str], folder: str) -> Config:
    """The configuration, with a folder for the output. Raises ConfigError."""
    model = [] if options.model is None else [f"model.name={options.model}"]
    if not (options.config or model or any(each.startswith("model.name=") for each in overrides)):
        raise ConfigError(
            "model.name: no model is given; name one, as in --model MODEL.nemo (in a clone of the project, the demo's"
            " is demo/citrinet_zh_demo.nemo), or a configuration that has one, as in --config citrascribe.yaml"
        )
    return load(options.config, [*overrides, *model, "input.uri=-", f"output.uri={folder}/out"])


class FileTranscriber:
    """Transcribes files with one loaded model, as `shown`: text, json or srt."""

    def __init__(self, config: Config, shown: str) -> None:
        self._config, self._shown = config, shown
        self._output = config.output.place()
        self._line, self._status = StatusLine(), DONE

    def transcribe(self, files: Sequence[str]) -> int:
        """Transcribes files, and prints the transcripts of each. Returns the exit status: FAILED if one has an error,
        of which a sentence is said. Raises UsageError and OSError as the model, and ConfigError."""
        listed = {number: objects for number, name in enumerate(files) if (objects := self._objects_of(name))}
        try:
            if listed:
                self._line.say("loading the model …")
                recipe, hear = self._load()
            for number, objects in listed.items():
                self._line.say(f"{number + 1} of {len(files)}: {files[number]} …")
                unit = Unit.of(f"{number:016x}", recipe.digest, objects)
                found = self._transcripts(files[number], unit, recipe, hear)
                self._line.clear()
                for each in found:
                    self._show(each, files[number], is_alone=len(files) == len(found) == 1, is_file=len(found) == 1)
        finally:
            self._line.clear()
        return self._status

    def _load(self) -> tuple[Recipe, Callable[[Piece], Outcome]]:
        """How files are transcribed, and what takes a piece of them through the graph."""
        config, stated = self._config, self._config.model
        model = resolve(stated.name, stated.revision, stated.options(), is_fused=stated.engine != "nemo")
        decoding, text = resolve_decoding(config), resolve_text(config)
        say_what_takes_time(decoding)
        recipe = Recipe.of(config, model, Devices.of_this_machine(), decoding, text)
        vocabulary = read_vocabulary(model)
        writing = WriteSettings(model, vocabulary, new_run_id(), recipe.reading, recipe.tokens, decoding, text)
        return recipe, graph_here(recipe, len(os.sched_getaffinity(0)), self._output, writing)

    def _objects_of(self, name: str) -> list[SourceObject]:
        """What a file holds, or a folder, or all that a pattern names; nothing, and a sentence, if that cannot be
        listed."""
        whole: dict[str, object] = {"sample": None, "limit": None, "redo": [], "include": [], "exclude": []}
        try:
            source = Input.model_validate(self._config.input.model_dump() | whole | {"uri": name})
            return list_input(source, self._config.output.uri).objects
        except ValidationError as problem:
            self._fail(name, problem.errors()[0]["msg"])
        except (ConfigError, UsageError, OSError) as problem:
            self._fail(name, str(problem).removeprefix("input.uri: ").removeprefix(name).strip())
        return []

    def _transcripts(self, name: str, unit: Unit, recipe: Recipe, hear: Callable[[Piece], Outcome]) -> list[Transcript]:
        """The recordings of a unit; none, and a sentence, if it failed."""
        problems = list[str]()
        try:
            commit_here(unit, recipe, hear)
            part = open_part(unit.id, self._output, lambda _: None)
            found = list(recordings_of(part.tables(), self._output / part_name(unit.id), problems))
            remove_unit(unit.id, self._output)
        except NotTranscribed as problem:
            problems, found = [str(problem)], []
        for each in problems:
            self._fail(name, each)
        return [*conversations(found, are_channels)] if self._shown == "srt" else found

    def _show(self, transcript: Transcript, name: str, is_alone: bool, is_file: bool) -> None:
        first = transcript.first
        channel = "" if is_file or first["channel"] is None else f" (channel {first['channel']})"
        label = name if is_file else first["recording_id"] + channel
        for row in transcript.rows:
            if row["error_kind"] is not None:
                where = f" from {row['start_s']:.1f} s" if len(transcript.rows) > 1 and row["start_s"] else ""
                self._fail(label + where, f"{row['error_detail']} ({row['error_kind']})")
        for kind in first["warning"] or ():
            self._line.clear()
            say(f"{label}: {WARNINGS.get(kind, kind)} ({kind})", "yellow")
        if self._shown == "json":
            print_json(json.loads(json_lines(transcript, SubtitleLayout())), is_asked=True)
        elif transcript.is_transcribed and self._shown == "srt" and is_file:
            stated = self._config.export
            layout = SubtitleLayout(
                *(stated.characters_per_line, stated.lines, stated.min_seconds, stated.max_seconds),
                tuple(stated.channel_names),
            )
            print_text(writer_of("srt", False, True)(transcript, layout).rstrip("\n"), OUTPUT)
        elif transcript.is_transcribed and self._shown == "srt":
            self._fail(label, "--srt writes the subtitles of one recording")
        elif transcript.is_transcribed:
            text = single_line(written_text(transcript) or transcript.text).strip()
            print_text(text if is_alone else f"{single_line(label)}\t{text}", OUTPUT)

    def _fail(self, name: str, why: str) -> None:
        self._line.clear()
        say(f"{name}: {why}", "red")
        self._status = FAILED


class NotTranscribed(Exception):
    """Why a unit was not committed."""


def commit_here(unit: Unit, recipe: Recipe, hear: Callable[[Piece], Outcome]) -> None:
    """Transcribes and commits a unit, cut anew as long as it holds more audio than estimated. Raises NotTranscribed."""
    min_stretch_s = recipe.reading.segmentation.anchor_distance / SAMPLE_RATE
    cut = planned_cut(unit, recipe.piece_seconds, min_stretch_s, nominal_seconds)
    while True:
        outcome = next((each for each in map(hear, cut_unit(unit, cut)) if isinstance(each, Recut | Failed)), None)
        if outcome is None:
            return
        if isinstance(outcome, Failed):
            raise NotTranscribed(outcome.reason)
        if outcome.cut == cut or outcome.cut.shares * outcome.cut.stretches > MAX_PIECES:
            raise NotTranscribed("it cannot be cut into pieces that fit in memory")
        cut = outcome.cut


if __name__ == "__main__":
    exit_process(main())
