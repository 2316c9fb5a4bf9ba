"""Trains an n-gram language model on texts, in the tokens of the configuration's model, for decoding.lm."""

import gzip
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from actors.engine.models import read_vocabulary, resolve
from actors.storage.place import Place
from actors.storage.preflight import check_storage, check_writable
from actors.text.arpa import SPACES
from actors.text.spelling import CannotSpell, Speller
from jobs.cli.command import DONE, FAILED, exit_process, run_job
from jobs.cli.config import Config, ConfigError
from jobs.cli.terminal import StatusLine, print_json, say, show_table
from jobs.transcripts.ngrams import TrainingFailed, find_trainer, finished_lines, train
from jobs.transcripts.out_files import atomic_file
from jobs.transcripts.texts import OF_JOBS, Texts

EPILOG = """
examples:
  python -m jobs.language_model configs/demo.yaml input.uri=texts.txt output.uri=lm.arpa.gz
  python -m jobs.language_model configs/demo.yaml input.uri='[news/*.txt.gz, calls.parquet]' output.uri=lm.arpa
  python -m jobs.language_model configs/demo.yaml input.uri=out/demo output.uri=lm.arpa language_model.order=3

The texts of input.uri: text files (.txt, .gz) of a sentence a line, the column language_model.column of Parquet files
and JSON manifests, or the references of an output of jobs.transcribe. They are written as the model's vocabulary
writes: in its case and width, without punctuation that it has not. Where a text has characters that it cannot write,
the text is cut there, and the characters are counted. output.uri is the model for decoding.lm, an ARPA file or URL
that ends in .arpa or .arpa.gz.

Of the references of an output, of manifests of audio, and of texts beside audio, those that jobs.tune holds back to say
what a model brings are left out: train, run jobs.tune, then train again with language_model.held_back=use. What jobs
have written below a folder, such as transcripts, is passed over.

It is trained by KenLM's lmplz where that is on the PATH, which sorts on disk, else by kaldingram (the extra lm), which
needs about 0.4 GB of memory for a million characters. All keys are described in docs/configuration.md. The last line of
standard output is one JSON object.
"""
SUFFIXES = (".arpa", ".arpa.gz")
SAY_EVERY = 1_000  # texts
MAX_SHOWN = 50  # characters that could not be written


class Sentences:
    """Spells texts as the trainer reads them, and counts what becomes of them."""

    def __init__(self, speller: Speller, pieces: tuple[str, ...]) -> None:
        self._speller = speller
        self._names = [SPACES[0] if piece == " " else piece for piece in pieces]
        self.sentences = self.tokens = self.empty = 0
        self.left_out = Counter[str]()

    def lines(self, text: str) -> Iterator[str]:
        """The sentences of a text: one, unless it has characters that cannot be written."""
        if not text or text.isspace():
            self.empty += 1
            return
        text = self._speller.normalised(text)
        parts, count = [text], 0
        while parts:
            part = parts.pop(0)
            try:
                ids = self._speller.spell(part).ids
            except CannotSpell as problem:
                for character in problem.characters:
                    self.left_out[character] += part.count(character)
                    part = part.replace(character, "\0")
                if "\0" not in part:  # they come from a normaliser of the tokenizer's own
                    self.left_out.update(problem.characters)
                    continue
                parts = [each for each in part.split("\0") if each] + parts
                continue
            if ids:
                count += 1
                self.tokens += len(ids)
                yield " ".join([self._names[token] for token in ids])
        self.sentences += count
        self.empty += not count


def main(arguments: list[str] | None = None) -> int:
    return run_job("jobs.language_model", __doc__, EPILOG, run, arguments)


def run(config: Config) -> int:
    began, place, trainer = time.monotonic(), _output(config), find_trainer(config.language_model)
    model = resolve(config.model.name, config.model.revision, config.model.options())
    vocabulary = read_vocabulary(model)
    line = StatusLine()
    texts, sentences = Texts(config, line.say), Sentences(Speller(vocabulary), vocabulary.pieces)
    with tempfile.TemporaryDirectory() as folder:
        corpus, trained = Path(folder) / "texts", Path(folder) / "arpa"
        with corpus.open("w", encoding="utf-8", newline="\n") as file:
            for number, text in enumerate(texts):
                for sentence in sentences.lines(text):
                    file.write(f"{sentence}\n")
                if number % SAY_EVERY == 0:
                    line.say(f"{sentences.sentences:,} sentences …")
        if not sentences.sentences:
            line.clear()
            raise ConfigError(_nothing(texts, sentences))
        try:
            train(trainer, config.language_model, corpus, trained, line.say)
        except TrainingFailed as problem:
            line.clear()
            say(str(problem), "red")
            print_json({"status": FAILED, "error": str(problem)})
            return FAILED
        counts = list[int]()
        with atomic_file(place) as opened, _maybe_zipped(opened, place) as file_out:
            for each in finished_lines(trainer, trained, config.language_model.order):
                if each.startswith(b"ngram "):
                    counts.append(int(each.partition(b"=")[2]))
                file_out.write(each)
    line.clear()
    summary: dict[str, object] = {
        "output": place.uri,
        "trainer": trainer,
        "order": config.language_model.order,
        "ngrams": counts,
        "sentences": sentences.sentences,
        "tokens": sentences.tokens,
        "problems": texts.problems,
        **{name: texts.counts[name] for name in ("files", "failed", "references", "held_back", "without_text", "cut")},
        "empty": sentences.empty,
        "left_out": {"characters": sentences.left_out.total(), "different": len(sentences.left_out)}
        | {"most_frequent": dict(sentences.left_out.most_common(MAX_SHOWN))},
        "skipped_files": dict(texts.skipped.most_common(MAX_SHOWN)),
        "wall_seconds": round(time.monotonic() - began, 1),
    }
    _show(summary, sentences)
    if count := texts.skipped[OF_JOBS]:
        say(
            f"input.uri: {count:,} files {OF_JOBS}, such as transcripts, are passed over; for references, give the"
            " folder of an output itself",
            "yellow",
        )
    print_json(summary)
    for sentence in texts.problems:
        say(f"input.uri: {sentence}", "red")
    return FAILED if texts.problems else DONE


def _output(config: Config) -> Place:
    """Where the model goes. Raises ConfigError and UsageError if it cannot go there, before anything is read."""
    uri = config.output.uri
    place = config.output.place()
    if not place.path.lower().endswith(SUFFIXES):
        raise ConfigError(f"output.uri: {uri} is not the name of a model, which ends in .arpa or .arpa.gz")
    if place.is_local and Path(place.path).is_dir():
        raise ConfigError(f"output.uri: {uri} is a folder; give the name of a file")
    check_writable(place.parent, "output.uri")
    check_storage(place, "output.uri")
    for each in config.input.uris:
        if Place.at(each, config.input.options()).uri == place.uri:
            raise ConfigError(f"output.uri: {uri} is the input; give the model another name")
    return place


def _nothing(texts: Texts, sentences: Sentences) -> str:
    """Why there are no sentences to train on."""
    if sentences.left_out:
        most = ", ".join(repr(each) for each, _ in sentences.left_out.most_common(5))
        return f"input.uri: the model's vocabulary can write nothing of the texts, but lacks characters such as {most}"
    if count := texts.counts["held_back"]:
        return (
            f"input.uri: all of its {count:,} references are of the half that jobs.tune holds back; give more texts, or"
            " set language_model.held_back=use"
        )
    if texts.problems:
        return f"input.uri: {texts.problems[0]}"
    if texts.counts["files"] and (count := texts.counts["without_text"]):
        return f"language_model.column: it is missing, or no text, in {count:,} records; name the column of the texts"
    if texts.counts["files"] or texts.counts["references"]:
        return "input.uri: its texts are empty"
    skipped = ", ".join(f"{suffix} ({count:,})" for suffix, count in texts.skipped.most_common(5))
    return "input.uri: it has no texts" + (
        f", but {skipped}; the references of audio are read from its output, after jobs.transcribe" if skipped else ""
    )


@contextmanager
def _maybe_zipped(file: BinaryIO, place: Place) -> Iterator[BinaryIO]:
    if not place.path.lower().endswith(".gz"):
        yield file
        return
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as zipped:
        yield cast(BinaryIO, zipped)


def _show(summary: dict[str, object], sentences: Sentences) -> None:
    names = ("output", "trainer", "order", "ngrams", "files", "references", "held_back", "sentences", "tokens")
    rows: list[tuple[str, object]] = [(name, summary[name]) for name in (*names, "wall_seconds")]
    show_table("Trained", ("", ""), rows)
    if sentences.left_out:
        counted = [(char, count) for char, count in sentences.left_out.most_common(10)]
        show_table("Characters that the model cannot write, where texts were cut", ("character", "times"), counted)


if __name__ == "__main__":
    exit_process(main())
