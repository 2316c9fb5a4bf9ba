"""Channels: their mean, one of them, or each as a recording of its own, in whatever pieces."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import webvtt
from conftest import DEMO_MODEL, encoded, tone
from test_audio import hertz_of
from test_corrections import manifest
from test_corrections import worked as run_over
from test_pieces import cut, tar_of, unit_of, worked
from transcribing import DIGESTS, Transcribing, commit_piece

from actors.audio.decode import DecodeRequest, SoundLimitExceeded, decode, decode_each
from actors.audio.pcm import as_float
from actors.audio.segments import SegmentationSettings
from actors.engine.interface import EngineSettings
from actors.engine.models import resolve
from actors.parts.assemble import _with_equal_channels
from actors.parts.kept import is_kept, sweep_pieces
from actors.parts.recordings import rows_in
from actors.parts.stored import open_part
from actors.parts.summary import Tally
from actors.pieces import Cut, NeedsRecut, cut_unit
from actors.reader import read_piece
from actors.schema import PART_SCHEMA, ErrorKind, RecordingError, WarningKind
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.units import Selection
from jobs import evaluate, export
from jobs.planning.corrections import object_errors
from jobs.planning.estimates import calibrate
from jobs.planning.state import load_state

EACH = ReadSettings(channel="each")
CANCEL = (WarningKind.CHANNELS_CANCEL,)


def stereo(left: np.ndarray, right: np.ndarray, rate: int = 16_000, kind: str = "WAV", **options: Any) -> bytes:
    sound = np.zeros((max(len(left), len(right)), 2))
    sound[: len(left), 0], sound[: len(right), 1] = left, right
    return encoded(sound, rate, kind, **options)


def noise(seconds: float, rate: int = 8_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))


def committed(output: Place) -> list[dict[str, Any]]:
    return [row for unit in load_state(output).parts for row in rows_in(open_part(unit, output).tables())]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: stereo(x, -x),
        lambda x: stereo(x, -x, 8_000, subtype="ULAW"),
        lambda x: stereo(x, -0.8 * x, 44_100, subtype="FLOAT"),
        lambda x: stereo(x, -x, 44_100, "MP3"),
        lambda x: stereo(x, -x, 48_000, "OGG", subtype="OPUS"),
        lambda x: stereo(x, noise(3) * 1e-3 - x, kind="FLAC", subtype="PCM_24"),
        lambda x: encoded(np.stack([x, -x, 0 * x, 0 * x], axis=1)),
    ],
)
def test_where_the_average_cancels_the_loudest_channel_is_heard(make: Callable[[np.ndarray], bytes]) -> None:
    sound = decode(make(noise(3)))
    left = decode(make(noise(3)), DecodeRequest(channel=0))
    assert np.array_equal(sound.pcm, left.pcm)
    assert (sound.warnings, left.warnings) == (CANCEL, ())


def test_what_is_said_where_the_average_cancels(speech: list[tuple[Any, str]], tmp_path: Path) -> None:
    sound, said = speech[0]
    (tmp_path / "inverted.wav").write_bytes(stereo(sound, -sound))
    transcriber = Transcribing(
        resolve(str(DEMO_MODEL), None, {}), EngineSettings("fused", "cpu", "float32", 2, 30), "run"
    )
    (row,) = transcriber(read_piece(cut(unit_of(tmp_path))[0], ReadSettings())).to_pylist()
    assert (row["text"], row["warning"], row["channel"]) == (said, ["channels_cancel"], None)


def test_ordinary_sound_is_averaged() -> None:
    one, other = noise(3), noise(3, seed=1)
    for left, right in (
        *((one, one), (one, other), (one, 0 * one), (0 * one, one), (0 * one, 0 * one)),
        *((one, -0.5 * one), (one + other, one - other), (one, -np.roll(one, 40)), (0.01 * one, other)),
    ):
        sound = decode(stereo(left, right, subtype="FLOAT"))
        assert sound.warnings == ()
        mean = ((left + right) / 2).astype(np.float32)
        assert np.abs(as_float(sound.pcm) - mean).max() < 1e-6


def test_a_channel_without_numbers_leaves_the_other_as_it_is() -> None:
    left = tone(1)
    for wrong in (np.nan, np.inf, -np.inf):
        sound = decode(stereo(left, np.full_like(left, wrong), subtype="FLOAT"))
        assert hertz_of(sound.pcm) == pytest.approx(440, abs=2)
    assert not decode(stereo(left * np.nan, left * np.nan, subtype="FLOAT")).pcm.any()


def test_many_channels_are_averaged_as_they_come() -> None:
    samples = np.repeat(tone(0.5)[:, None], 1_024, axis=1)
    assert hertz_of(decode(encoded(samples)).pcm) == pytest.approx(440, abs=3)
    with pytest.raises(RecordingError, match="1024 channels at 16000 Hz are too many to take each") as caught:
        decode(encoded(samples), DecodeRequest(channel="each"))
    assert caught.value.kind == ErrorKind.UNREADABLE


def test_a_number_on_a_mono_file_takes_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "mono.wav").write_bytes(encoded(tone(1)))
    (tmp_path / "stereo.wav").write_bytes(stereo(tone(1, hertz=300), tone(1, hertz=900)))

    def row_of(name: str, channel: int) -> dict[str, Any]:
        (row,) = read_piece(cut(unit_of(tmp_path / name))[0], ReadSettings(channel=channel)).to_pylist()
        return row

    mono, wrong = row_of("mono.wav", 2), row_of("stereo.wav", 2)
    assert (mono["warning"], mono["channel"], len(mono["pcm"])) == (["no_such_channel"], None, 32_000)
    assert row_of("mono.wav", 0) == mono | {"warning": None}
    assert (wrong["error_kind"], wrong["warning"]) == ("unreadable", None)
    assert "channels 0 to 1" in wrong["error_detail"]
    manifest(tmp_path, {"audio_filepath": "mono.wav", "channel_selector": 2})
    (tmp_path / "stereo.wav").unlink()
    assert row_of("", 0)["error_kind"] == "unreadable"  # a manifest that is wrong


@pytest.mark.parametrize(
    "data",
    [
        stereo(tone(2, hertz=300), tone(2, hertz=900)),
        stereo(tone(2, 44_100, 300), tone(2, 44_100, 900), 44_100, "MP3"),
        stereo(tone(2, 8_000, 300), tone(2, 8_000, 900), 8_000, "WAV", subtype="ULAW"),
    ],
)
def test_each_channel_is_what_it_is_alone(data: bytes) -> None:
    sounds = decode_each(data, DecodeRequest(channel="each"))
    assert [each.channel for each in sounds] == [0, 1]
    for number, sound in enumerate(sounds):
        assert np.array_equal(sound.pcm, decode(data, DecodeRequest(channel=number)).pcm)
    assert [sound.channel for sound in decode_each(encoded(tone(1)), DecodeRequest(channel="each"))] == [0]


def varied(folder: Path) -> None:
    """Calls of which one cancels here and there, one ends soon after a minute, and what cannot be read."""
    left, right = noise(430.4), noise(430.4, seed=1)
    for minute in (0, 3, 7):
        right[minute * 480_000 : (minute + 1) * 480_000] = -left[minute * 480_000 : (minute + 1) * 480_000]
    (folder / "a.flac").write_bytes(stereo(left, right, 8_000, "FLAC"))
    (folder / "a.txt").write_text("words of both")
    right[: 7 * 480_000] = left[: 7 * 480_000]
    right[7 * 480_000 :] = -left[7 * 480_000 :]  # less than half a minute of it
    (folder / "b.wav").write_bytes(stereo(left[: 420 * 8_000 + 3_000], right[: 420 * 8_000 + 3_000], 8_000))
    (folder / "c.wav").write_bytes(b"no audio")
    (folder / "d.wav").write_bytes(encoded(noise(200), 8_000))


@pytest.mark.parametrize("channel", [None, "each"])
def test_the_rows_are_the_same_in_any_pieces(channel: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    varied(folder)
    unit, reading = unit_of(folder), ReadSettings(channel=channel)
    whole = worked(cut(unit), tmp_path / "whole", settings=reading)
    firsts = [
        (row["recording_id"], row["channel"], row["reference"], row["warning"])
        for row in whole
        if not row["segment_index"]
    ]
    if channel is None:
        cancels = ["channels_cancel"]
        assert firsts == [
            *(("a.flac", None, "words of both", cancels), ("b.wav", None, None, cancels)),
            *(("c.wav", None, None, None), ("d.wav", None, None, None)),
        ]
    else:
        assert firsts == [
            *(("a.flac", 0, "words of both", None), ("a.flac", 1, "words of both", None)),
            *(
                ("b.wav", 0, None, None),
                ("b.wav", 1, None, None),
                ("c.wav", None, None, None),
                ("d.wav", 0, None, None),
            ),
        ]
        assert {row["duration_s"] for row in whole if row["recording_id"] == "a.flac"} == {430.4}
    for shares, stretches in ((1, 3), (4, 1), (3, 2), (1, 9)):
        out = tmp_path / f"{shares}.{stretches}"
        assert worked(cut(unit, shares, stretches), out, settings=reading) == whole
    isolated = ReadSettings(channel=channel, isolated=True)
    assert worked(cut(unit, 1, 2), tmp_path / "isolated", settings=isolated) == whole


def test_calls_in_a_tar(tmp_path: Path) -> None:
    call = stereo(noise(130), noise(130, seed=1), 8_000)
    members = [("a.wav", call), ("a.txt", b"said"), ("b.wav", encoded(tone(1))), ("c.wav", b"no"), ("d.wav", call)]
    (tmp_path / "t.tar").write_bytes(tar_of(members))
    unit = unit_of(tmp_path / "t.tar")
    whole = worked(cut(unit), tmp_path / "whole", settings=EACH)
    firsts = [(row["member"], row["channel"], row["reference"]) for row in whole if not row["segment_index"]]
    assert firsts == [
        *(("a.wav", 0, "said"), ("a.wav", 1, "said"), ("b.wav", 0, None)),
        *(("c.wav", None, None), ("d.wav", 0, None), ("d.wav", 1, None)),
    ]
    for shares, stretches in ((3, 1), (1, 2), (2, 2)):
        assert worked(cut(unit, shares, stretches), tmp_path / f"{shares}.{stretches}", settings=EACH) == whole


def test_a_call_that_is_replaced_while_its_stretches_are_read_is_one_row(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(stereo(noise(400), noise(400, seed=1), 8_000))
    (tmp_path / "a.txt").write_text("said")
    pieces = cut(unit_of(tmp_path), stretches=3)
    read = [DIGESTS.hear(read_piece(piece, EACH)) for piece in pieces[:2]]
    file.write_bytes(stereo(noise(300), noise(300), 8_000))
    read.append(DIGESTS.hear(read_piece(pieces[2], EACH)))
    output = Place.at(str(tmp_path / "out"))
    for piece, rows in zip(pieces, read, strict=True):
        commit_piece(piece, rows, output, "one")
    (row,) = pq.read_table(tmp_path / "out" / "part-0a.parquet").to_pylist()
    assert (row["error_kind"], row["channel"], row["reference"]) == ("changed", None, "said")


def test_a_stretch_that_cannot_be_read_is_an_error_of_each_channel() -> None:
    key = {"uri": "u", "member": None, "offset_s": None, "stretch_s": None, "reference": "said", "extra": None}
    good = [[key | {"channel": number, "error_kind": None, "start_s": 0.0}] for number in (0, 1)]
    bad = [[key | {"channel": None, "error_kind": "unreadable", "start_s": None}]]
    first, second = _with_equal_channels([good, bad])
    assert first == good
    assert [(row["channel"], row["error_kind"]) for (row,) in second] == [(0, "unreadable"), (1, "unreadable")]
    mono, failed = _with_equal_channels([good[:1], bad])
    assert [rows[0]["channel"] for (rows,) in (mono, failed)] == [0, 0]
    for whole in ("changed", "unreachable"):
        ((only,),) = _with_equal_channels([good, [[bad[0][0] | {"error_kind": whole}]]])
        assert only[0]["channel"] is None
    assert _with_equal_channels([bad, bad]) == [bad, bad]


@pytest.mark.parametrize(
    ("channels", "seconds", "planned_s", "isolated"), [(2, 4_000, 9_000.0, False), (8, 1_500, 1_800.0, True)]
)
def test_calls_do_not_end_in_endless_recuts(
    channels: int, seconds: int, planned_s: float, isolated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if channels == 2:
        monkeypatch.setattr("actors.reading.measure.MIN_SOUND_LIMIT_S", 1_000.0)
        planned_s = 2_500.0
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 8_000, channels) as sink:
        for _ in range(seconds // 100):
            sink.write(np.zeros((800_000, channels)))
    unit, cuts = unit_of(tmp_path), [Cut(planned_s)]
    reading = ReadSettings(channel="each", isolated=isolated)
    while len(cuts) < 4:
        try:
            pieces = cut_unit(unit, cuts[-1])
            ends = [max(read_piece(piece, reading).column("end_s").to_pylist()) for piece in (pieces[0], pieces[-1])]
            break
        except NeedsRecut as needed:
            cuts.append(cuts[-1].merged(needed.cut))
    assert 2 <= len(cuts) <= 3
    assert ends[-1] == seconds
    assert cuts[-1].seconds < planned_s


def test_estimates_are_of_each_channel(tmp_path: Path) -> None:
    """Else half of the units would be cut again, once they are read."""
    call = stereo(tone(30, 8_000), tone(30, 8_000), 8_000, subtype="ULAW")
    (tmp_path / "a.wav").write_bytes(call)
    (tmp_path / "b.tar").write_bytes(tar_of([("a.wav", call), ("b.wav", encoded(tone(30)))]))
    for name, expected in (("a.wav", 60), ("b.tar", 90)):
        (source,) = unit_of(tmp_path / name).objects
        assert calibrate([source], {}, of_each_channel=True).seconds(source) == pytest.approx(expected, rel=0.05)


def test_every_channel_counts_as_sound() -> None:
    call, admitted = stereo(tone(70), tone(70, hertz=900)), list[int]()
    with pytest.raises(SoundLimitExceeded) as exceeded:
        decode(call, DecodeRequest(channel="each", max_seconds=100))
    assert (exceeded.value.recording_s, exceeded.value.channels) == (pytest.approx(70, abs=10), 2)
    decode(call, DecodeRequest(channel="each", admit=lambda more: not admitted.append(more)))
    assert sum(admitted) == 2 * 70 * 16_000


def test_what_is_not_listed_any_more_keeps_the_rows_of_all_its_channels(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    folder.mkdir()
    (folder / "call.wav").write_bytes(stereo(tone(3, hertz=300), tone(3, hertz=900)))
    other = {"audio_filepath": "call.wav", "offset": 0.5, "duration": 1.0, "id": "other"}
    lines = [{"audio_filepath": "call.wav", "offset": 0, "duration": 1.5, "id": "call"}, other]
    lines += [{"audio_filepath": "call.wav", "offset": 1, "duration": 1.5, "channel_selector": 1, "id": "right"}]
    manifest(folder, *lines)
    run_over(folder, output, reading=EACH)

    def rows() -> list[tuple[str, int, str]]:
        return sorted((row["recording_id"], row["channel"], row["text"]) for row in committed(output))

    before = rows()
    assert [each[:2] for each in before] == [("call", 0), ("call", 1), ("other", 0), ("other", 1), ("right", 1)]
    manifest(folder, lines[2], other | {"text": "new"})  # the unit is done again; the first line is not listed
    run_over(folder, output, reading=EACH)
    assert rows() == before
    manifest(folder, lines[0], other | {"text": "new"})  # now the one of a single channel is not listed
    run_over(folder, output, reading=EACH)
    assert rows() == before
    run_over(folder, output, on_deleted="remove", reading=EACH)
    assert [each[:2] for each in rows()] == [("call", 0), ("call", 1), ("other", 0), ("other", 1)]


def test_a_channel_that_two_lines_select_is_that_of_the_one_listed(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    folder.mkdir()
    (folder / "call.wav").write_bytes(stereo(tone(3, hertz=300), tone(3, hertz=900)))
    line = {"audio_filepath": "call.wav", "offset": 0, "duration": 1.5}
    right = line | {"channel_selector": 1, "id": "right"}
    manifest(folder, line, right)
    run_over(folder, output, reading=EACH)
    manifest(folder, right | {"text": "new"})
    run_over(folder, output, reading=EACH)
    assert sorted((row["channel"], row["recording_id"]) for row in committed(output)) == [(0, "call.wav"), (1, "right")]


def test_a_loose_call_that_is_removed_or_kept(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.wav").write_bytes(stereo(tone(1, hertz=300), tone(1, hertz=900)))
    run_over(folder, output, reading=EACH)
    (folder / "a.wav").unlink()
    (folder / "b.wav").write_bytes(encoded(tone(1)))  # mono now: it has no second row left
    run_over(folder, output, reading=EACH)
    found = sorted((row["recording_id"], row["channel"]) for row in committed(output))
    assert found == [("a.wav", 0), ("a.wav", 1), ("b.wav", 0), ("c.wav", 0), ("c.wav", 1)]
    run_over(folder, output, on_deleted="remove", reading=EACH)
    found = sorted((row["recording_id"], row["channel"]) for row in committed(output))
    assert found == [("b.wav", 0), ("c.wav", 0), ("c.wav", 1)]


@pytest.mark.usefixtures("ray_two_cpus")
def test_calls_through_the_whole_job(job: Any, speech: list[tuple[Any, str]], tmp_path: Path) -> None:
    (first, said), (second, answered) = speech[0], speech[1]
    folder = tmp_path / "in"
    folder.mkdir()
    pause = np.zeros(len(first) + 8_000)
    (folder / "call.wav").write_bytes(stereo(first, np.concatenate([pause, second])))
    (folder / "call.txt").write_text(said + answered)
    (folder / "mono.flac").write_bytes(encoded(first, kind="FLAC"))
    (folder / "broken.wav").write_bytes(b"no audio")
    where = (f"input.uri={folder}", f"output.uri={tmp_path / 'out'}", "errors.max_fraction=1")
    status, summary, _ = job(*where, "audio.channel=each")
    assert (status, summary["recordings"], summary["errors"], summary["cer"]) == (0, 4, {"not_audio": 1}, 0)
    rows = pq.read_table(tmp_path / "out").to_pandas().set_index(["recording_id", "channel"])
    assert rows["text"].dropna().to_dict() == {
        ("call.wav", 0): said,
        ("call.wav", 1): answered,
        ("mono.flac", 0): said,
    }

    def exported(*overrides: str) -> Path:
        keys = ("export.text=text", f"export.uri={tmp_path / 'x'}")
        status, summary, _ = job(*where, *overrides, *keys, main=export.main)
        assert (status, summary["recordings"], summary["errors"]) == (0, 3, 1)
        return tmp_path / "x"

    names = "export.channel_names=[caller, a&b<c>]"
    captions = webvtt.read(str(exported("export.format=vtt", names) / "call.vtt")).captions
    assert [each.voice for each in captions] == sorted((each.voice for each in captions), reverse=True)
    assert "".join(each.text for each in captions).replace("\n", "") == said + answered
    raw = (tmp_path / "x" / "call.vtt").read_text()
    assert "<v caller>" in raw
    assert "<v a&amp;b&lt;c&gt;>" in raw
    assert "<v 0>" in (exported("export.format=vtt") / "call.vtt").read_text()
    assert "<v" not in (tmp_path / "x" / "mono.vtt").read_text()
    srt = (exported("export.format=srt", names) / "call.srt").read_text()
    assert "\ncaller: " in srt
    assert "\na&b＜c＞: " in srt
    text = exported("export.format=text", "export.files=recording", "export.channel_names=[caller]")
    assert (text / "call.txt").read_text() == f"caller: {said}\n1: {answered}\n"
    lines = (exported("export.format=text") / "all.txt").read_text()
    assert lines == f"call.wav-0 {said}\ncall.wav-1 {answered}\nmono.flac {said}\n"
    assert "segments 1" in (exported("export.format=textgrid") / "call.TextGrid").read_text()
    for kind, suffix in (("manifest", "json"), ("jsonl", "jsonl")):
        both = (exported(f"export.format={kind}", "export.files=recording") / f"call.{suffix}").read_text()
        numbers = [
            json.loads(line)["channel_selector" if kind == "manifest" else "channel"] for line in both.splitlines()
        ]
        assert numbers == [0, 1]

    scores = tmp_path / "scores.parquet"
    status, summary, _ = job(*where, f"evaluate.write={scores}", main=evaluate.main)
    assert (summary["all"]["recordings"], summary["all"]["cer"]) == (1, 0)
    assert [(row["channel"], row["error_kind"]) for row in pq.read_table(scores).to_pylist()] == [(None, None)]


@pytest.mark.parametrize("stretches", [1, 2])
def test_segments_are_not_joined_across_channels(stretches: int, speech: list[tuple[Any, str]], tmp_path: Path) -> None:
    """Without a pause in reach, neighbouring segments overlap; the last of a channel and the first of the next do
    not."""
    both = [np.tile(np.concatenate([each for each, _ in speech[first::2]]), 8) for first in (0, 1)]
    sounds = [sound[: 200 * 16_000] + noise(200, 16_000) * 0.3 for sound in both]
    (tmp_path / "both.wav").write_bytes(stereo(*sounds))
    (tmp_path / "one.wav").write_bytes(encoded(sounds[0].astype(np.float64)))
    (tmp_path / "other.wav").write_bytes(encoded(sounds[1].astype(np.float64)))
    settings = EngineSettings("fused", "cpu", "float32", 2, 30)
    model = resolve(str(DEMO_MODEL), None, {})
    reading = ReadSettings(channel="each", segmentation=SegmentationSettings(8, 16))
    transcriber = Transcribing(model, settings)
    said = {
        name: worked(
            cut(unit_of(tmp_path / f"{name}.wav"), stretches=stretches),
            tmp_path / name,
            transcriber,
            settings=reading,
        )
        for name in ("both", "one", "other")
    }
    assert len(said["both"]) > 30
    texts = [(row["segment_index"], row["start_s"], row["text"]) for row in said["both"]]
    alone = [(row["segment_index"], row["start_s"], row["text"]) for name in ("one", "other") for row in said[name]]
    assert texts == alone


def test_pieces_of_a_finer_cut_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(stereo(noise(400), noise(400, seed=1), 8_000))
    unit, finer, output = unit_of(tmp_path), Cut(900.0, 1, 3), Place.at(str(tmp_path / "out"))
    piece = cut_unit(unit, finer)[0]
    commit_piece(piece, DIGESTS.hear(read_piece(piece, EACH)), output, "one")
    assert sweep_pieces([unit], 600.0, output) == {}
    assert sweep_pieces([unit], 1_800.0, output) == {unit.id: finer}
    assert is_kept(piece, output)


def test_an_error_of_one_channel_is_its_objects(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(stereo(tone(3, hertz=300), tone(3, hertz=900)))
    lines = [{"offset": 0, "duration": 1.5}, {"offset": 1, "duration": 1.5, "channel_selector": 1}]
    manifest(tmp_path, *({"audio_filepath": "call.wav"} | line for line in lines))
    unit, output = unit_of(tmp_path), Place.at(str(tmp_path / "out"))
    table = DIGESTS.hear(read_piece(cut(unit)[0], EACH))
    rows = table.to_pylist()
    rows[1] |= {"error_kind": "crashed", "text": None}
    table = pa.Table.from_pylist(rows, table.schema)
    commit_piece(cut(unit)[0], table, output, "one")
    errors, uri = object_errors("0a", output), unit.objects[0].uri
    assert [(row["offset_s"], row["channel"]) for row in rows] == [(0, 0), (0, 1), (1, 1)]
    assert errors[uri, Selection(0.0, 1.5)] == {None, "crashed"}
    assert errors[uri, Selection(1.0, 1.5, 1)] == {None}


def test_one_reference_of_a_call_is_compared_once() -> None:
    def row(channel: int | None, text: str, reference: str | None, start: float, index: int = 0) -> dict[str, Any]:
        texts = {"text": text, "reference": reference, "start_s": start, "segment_index": index, "duration_s": 9.0}
        return dict.fromkeys(PART_SCHEMA.names) | texts | {"recording_id": "a", "uri": "u", "channel": channel}

    rows = [row(0, "一", "一二三", 0.0), row(0, "三", None, 5.0, 1), row(1, "二", "一二三", 2.0)]
    for tables in ([rows], [[each] for each in rows]):
        tally = Tally()
        for each in tables:
            tally.add(pa.Table.from_pylist(each, PART_SCHEMA))
        tally.end()
        counts = tally.counts
        assert (counts.recordings, counts.segments, counts.audio_seconds) == (2, 3, 18.0)
        assert (counts.character_errors, counts.reference_characters) == (0, 3)
    tally = Tally()  # each has its own, or it is another recording
    others = [row(0, "一", "一二", 0.0), row(1, "二", "二", 0.0), row(1, "二", "二", 0.0) | {"uri": "v"}]
    tally.add(pa.Table.from_pylist(others, PART_SCHEMA))
    tally.end()
    assert (tally.counts.character_errors, tally.counts.reference_characters) == (1, 4)
