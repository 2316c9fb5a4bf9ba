"""Of a container with several audio tracks, the one that is asked for is heard, or none."""

import io
from collections.abc import Sequence

import av
import numpy as np
import pytest
from conftest import encoded, tone
from test_audio import hertz_of

from actors.audio.decode import DecodeRequest, decode
from actors.audio.tracks import Track
from actors.schema import ErrorKind, RecordingError
from jobs.cli.config import Audio
from jobs.planning.recipe import _track

HERTZ = (400, 800, 1_200, 1_600)


def film(container: str, languages: Sequence[str | None], default: int | None = None) -> bytes:
    """A file whose tracks, each of a language, are tones of HERTZ in this order."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as sink:
        streams = [sink.add_stream("aac", rate=48_000, layout="mono") for _ in languages]
        for number, (stream, language) in enumerate(zip(streams, languages, strict=True)):
            if language:
                stream.metadata["language"] = language
            if default is not None:
                stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
            stream.codec_context.open()
        for number, stream in enumerate(streams):
            samples = (tone(2, 48_000, HERTZ[number]) * 32_767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate = 48_000
            context = stream.codec_context
            to_codec = av.AudioResampler(context.format, "mono", 48_000, context.frame_size or 4_096)
            for part in [*to_codec.resample(frame), *to_codec.resample(None), None]:
                sink.mux(stream.encode(part))
    return file.getvalue()


def heard(data: bytes, track: Track) -> int:
    pcm = decode(data, DecodeRequest(track=track)).pcm
    return HERTZ.index(round(hertz_of(pcm[8_000:24_000]) / 100) * 100)


def refusal(data: bytes, track: Track) -> str:
    with pytest.raises(RecordingError) as caught:
        decode(data, DecodeRequest(track=track))
    assert caught.value.kind == ErrorKind.UNREADABLE
    return caught.value.detail


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_a_track_by_number_or_language(container: str) -> None:
    data = film(container, ["eng", "fre", "ger"])
    assert [heard(data, number) for number in range(3)] == [0, 1, 2]
    assert [heard(data, language) for language in ("eng", "ENG", "en", "fre", "fra", "deu", "de")] == [
        0,
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    assert "audio.track is 3, and the file has the tracks 0 (eng), 1 (fra), 2 (deu)" in refusal(data, 3)
    assert "audio.track is zho, and the file has the tracks" in refusal(data, "zho")


def test_of_two_in_one_language_the_default_is_heard() -> None:
    languages = ["eng", "deu", "eng", "eng"]
    assert heard(film("matroska", languages, default=2), "eng") == 2
    assert heard(film("matroska", languages, default=1), "eng") == 0


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_a_language_that_is_not_stated(container: str) -> None:
    assert heard(film(container, ["und"]), "eng") == 0  # the only one
    assert "0 (no language), 1 (deu)" in refusal(film(container, ["und", "deu"]), "eng")
    assert "0 (deu)" in refusal(film(container, ["deu"]), "eng")
    assert "0 (no language)" in refusal(film(container, ["und"]), 1)


def test_formats_of_one_track_have_no_other() -> None:
    for track in (None, 0, 5, "eng"):
        for data in (encoded(tone(2, hertz=800)), encoded(tone(2, 44_100, 800), 44_100, "MP3")):
            assert heard(data, track) == 1


def test_the_key() -> None:
    assert Audio().recipe() == Audio(track="best").recipe() == {"max_megabytes": 512.0, "channel": "average"}
    assert Audio(track="eng").recipe()["track"] == "eng"
    assert [_track(each) for each in ("best", "0", "12", "eng")] == [None, 0, 12, "eng"]
    for wrong in ("", "-1", "e", "english", "01", "1.5"):
        with pytest.raises(ValueError, match="track"):
            Audio(track=wrong)
