"""The table of formats, the page made of it, and each format that can be made here: read, whatever precedes it."""

import io
import random
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT, encoded
from test_audio import error_of

from actors.audio.codecs import Source
from actors.audio.containers import _AT_START, recognise
from actors.audio.decode import decode
from actors.audio.frames import KINDS
from actors.audio.pcm import as_float
from actors.formats import AUDIO_SUFFIXES, FORMATS, SNDFILE_FIRST
from actors.schema import ErrorKind
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from jobs.cli import formats_page

CONTAINERS = frozenset(each.container for each in FORMATS)  # that may be opened

SECONDS = 2.0
SPEECH = soundfile.read(ROOT / "demo/audio/loose/03.wav", dtype="float32")

#: Container and codec, rate, and the demuxer that each is to be recognised as.
MADE = {
    **{("avi", codec): (44_100, "avi") for codec in ("libmp3lame", "pcm_s16le", "ac3", "aac", "adpcm_ms")},
    **{("flv", codec): (44_100, "flv") for codec in ("libmp3lame", "aac", "adpcm_swf")},
    ("flv", "nellymoser"): (22_050, "flv"),
    **{("mpegts", codec): (48_000, "mpegts") for codec in ("mp2", "libmp3lame", "aac", "ac3", "eac3", "libopus")},
    **{("mpeg", codec): (48_000, "mpeg") for codec in ("mp2", "ac3")},
    **{("vob", codec): (48_000, "mpeg") for codec in ("mp2", "ac3")},
    ("dvd", "pcm_dvd"): (48_000, "mpeg"),
    ("wv", "wavpack"): (44_100, "wv"),
    ("tta", "tta"): (44_100, "tta"),
    ("voc", "pcm_u8"): (20_000, "voc"),
    ("voc", "pcm_s16le"): (44_100, "voc"),
    ("ac3", "ac3"): (44_100, "ac3"),
    ("eac3", "eac3"): (48_000, "eac3"),
    ("latm", "aac"): (44_100, "loas"),
    ("adts", "aac"): (44_100, "aac"),
    ("mp3", "libmp3lame"): (44_100, "mp3"),
    ("mp2", "mp2"): (44_100, "mp3"),
    **{("asf", codec): (44_100, "asf") for codec in ("wmav1", "wmav2", "libmp3lame", "aac")},
    ("wav", "g722"): (16_000, "wav"),
    ("wav", "ac3"): (48_000, "wav"),
    ("caf", "alac"): (44_100, "caf"),
    ("w64", "pcm_s16le"): (44_100, "w64"),
    ("ircam", "pcm_s16le"): (44_100, "ircam"),
    **{(container, "aac"): (44_100, "mov") for container in ("mp4", "mov", "ipod", "3gp", "3g2", "f4v", "ismv")},
    ("mov", "pcm_s16le"): (44_100, "mov"),
    ("3gp", "libopencore_amrnb"): (8_000, "mov"),
    ("amr", "libopencore_amrnb"): (8_000, "amr"),
    ("webm", "libopus"): (48_000, "matroska"),
    **{("matroska", codec): (48_000, "matroska") for codec in ("ac3", "aac", "wavpack", "pcm_s16le")},
    ("nut", "libmp3lame"): (44_100, "nut"),
    ("wtv", "mp2"): (44_100, "wtv"),
    ("gxf", "pcm_s16le"): (48_000, "gxf"),
    ("rm", "ac3"): (48_000, "rm"),
    ("rm", "real_144"): (8_000, "rm"),
    ("sox", "pcm_s32le"): (44_100, "sox"),
    ("mmf", "adpcm_yamaha"): (8_000, "mmf"),
}


def made(container: str, codec: str, rate: int, picture: str | None = None) -> bytes:
    """Two seconds of the demo's speech by FFmpeg, as a film if `picture` names a codec."""
    samples, stored_rate = SPEECH
    layout = "stereo" if codec == "pcm_dvd" else "mono"
    samples = soxr.resample(samples[: round(SECONDS * stored_rate)], stored_rate, rate)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as sink:
        if picture:
            film = sink.add_stream(picture, rate=25)
            film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        stream = sink.add_stream(codec, rate=rate, layout=layout)
        context = stream.codec_context
        if codec.startswith("wma"):
            context.bit_rate = 64_000
        context.open()  # only now is the size of its frames known
        for number in range(int(SECONDS * 25) if picture else 0):
            image = av.VideoFrame.from_ndarray(np.full((96, 64), 100, np.uint8), "yuv420p")
            image.pts = number
            sink.mux(film.encode(image))
        frame = av.AudioFrame.from_ndarray((samples[None] * 32_767).astype(np.int16), "s16", "mono")
        frame.sample_rate = rate
        to_codec = av.AudioResampler(format=context.format, layout=layout, rate=rate, frame_size=context.frame_size)
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            sink.mux(stream.encode(part))
        sink.mux(stream.encode(None))
        if picture:
            sink.mux(film.encode(None))
    return file.getvalue()


def likeness(data: bytes) -> float:
    """How well decoded bytes correlate with the speech that went in, wherever in them it lies; 1 if perfectly."""
    pcm = as_float(decode(data).pcm).astype(np.float64)
    right = soxr.resample(SPEECH[0][: round(SECONDS * SPEECH[1])], SPEECH[1], 16_000)[4_000:24_000]
    size = 1 << 17
    products = np.fft.irfft(np.fft.rfft(pcm, size) * np.conj(np.fft.rfft(right, size)), size)
    sums = np.concatenate([[0], np.cumsum(pcm**2)])
    energies = sums[len(right) :] - sums[: -len(right)]
    return float((products[: len(energies)] / np.sqrt((energies + 1e-9) * np.sum(right**2))).max())


@pytest.fixture(scope="module")
def files() -> dict[tuple[str, str], bytes]:
    return {key: made(*key, rate) for key, (rate, _) in MADE.items()}


@pytest.mark.parametrize("key", MADE, ids="/".join)
def test_every_format_that_can_be_made_is_read(key: tuple[str, str], files: dict[tuple[str, str], bytes]) -> None:
    assert Source(files[key]).container == MADE[key][1]
    assert likeness(files[key]) > (0.7 if MADE[key][0] == 8_000 else 0.95)


@pytest.mark.parametrize(
    ("container", "codec", "picture"),
    [
        ("avi", "libmp3lame", "mpeg4"),
        ("mpegts", "mp2", "mpeg2video"),
        ("mpeg", "mp2", "mpeg2video"),
        ("vob", "ac3", "mpeg2video"),
        ("matroska", "ac3", "mpeg4"),
        ("mp4", "aac", "mpeg4"),
        ("flv", "libmp3lame", "flv"),
        ("asf", "wmav2", "msmpeg4"),
        ("mxf", "pcm_s16le", "mpeg2video"),
        ("wtv", "mp2", "mpeg2video"),
    ],
)
def test_the_sound_of_a_film_is_read(container: str, codec: str, picture: str) -> None:
    assert likeness(made(container, codec, 48_000 if codec in ("ac3", "pcm_s16le") else 44_100, picture)) > 0.95


@pytest.mark.parametrize(
    ("kind", "subtype", "container"),
    [("SVX", "PCM_16", "iff"), ("SVX", "PCM_S8", "iff"), ("PVF", "PCM_16", "pvf"), ("VOC", "PCM_16", "voc")],
)
def test_formats_that_libsndfile_writes(kind: str, subtype: str, container: str) -> None:
    data = encoded(SPEECH[0], SPEECH[1], kind, subtype)
    assert Source(data).container == container
    assert likeness(data) > 0.95


def test_a_tape_in_dv() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="dv") as sink:
        film, sound = sink.add_stream("dvvideo", rate=25), sink.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        film.width, film.height, film.pix_fmt = 720, 576, "yuv420p"
        speech = soxr.resample(SPEECH[0], SPEECH[1], 48_000)
        for number in range(50):
            image = av.VideoFrame(720, 576, "yuv420p")
            image.pts = number
            sink.mux(film.encode(image))
            part = np.repeat(speech[number * 1_920 : (number + 1) * 1_920], 2)
            frame = av.AudioFrame.from_ndarray((part[None] * 32_767).astype(np.int16), "s16", "stereo")
            frame.sample_rate, frame.pts = 48_000, number * 1_920
            sink.mux(sound.encode(frame))
    assert Source(file.getvalue()).container == "dv"
    assert likeness(file.getvalue()) > 0.95


def test_quicktime_from_before_there_was_ftyp(files: dict[tuple[str, str], bytes]) -> None:
    film = files["mov", "pcm_s16le"]
    first, moov_at = int.from_bytes(film[:4], "big"), film.rindex(b"moov") - 4
    for kind in (b"free", b"skip", b"wide"):
        assert likeness(film[:4] + kind + film[8:]) > 0.95
    assert likeness(moov_at.to_bytes(4, "big") + b"mdat" + film[8:]) > 0.95
    moov = bytearray(film[moov_at:])
    at = moov.index(b"stco") + 12
    for entry in range(int.from_bytes(moov[at - 4 : at], "big")):
        place = slice(at + 4 * entry, at + 4 * entry + 4)
        moov[place] = (int.from_bytes(moov[place], "big") + len(moov) - first).to_bytes(4, "big")
    assert likeness(moov + film[first:moov_at]) > 0.95
    for text in (b"The free software", b"The wide world is", b"Now skip the rest", b"\0\0\0\0free"):
        assert Source(text + b"\xc3\xa9" + bytes(5_000)).container is None


def test_broadcast_wave_of_64_bits() -> None:
    assert likeness(b"BW64" + encoded(SPEECH[0], SPEECH[1], "RF64", "PCM_16")[4:]) > 0.95


@pytest.mark.parametrize("size", [188, 192, 204])
def test_packets_of_transport_streams_have_three_sizes(size: int, files: dict[tuple[str, str], bytes]) -> None:
    packets = files["mpegts", "mp2"]
    before, behind = bytes(4 * (size == 192)), bytes(16 * (size == 204))
    data = b"".join(before + packets[at : at + 188] + behind for at in range(0, len(packets), 188))
    for cut in (0, 1, 100, 190):
        source = Source(data[cut:])
        assert source.container == "mpegts"
        assert likeness(data[cut:]) > 0.9


PRECEDING: dict[str, Callable[[], bytes]] = {
    "an ID3 tag": lambda: b"ID3\x04\0\0\0\0\x02\x01" + bytes(257),
    "several ID3 tags": lambda: 3 * (b"ID3\x03\0\0\0\0\x02\x01" + bytes(257)),
    "a tag whose size has eight bits a byte": lambda: b"ID3\x03\0\0\0\x02\xff\xff" + bytes(0x2FFFF),
    "a tag with a footer": lambda: b"ID3\x04\0\x10\0\0\0\x0a" + bytes(10) + b"3DI\x04\0\x10\0\0\0\x0a",
    "a tag and padding": lambda: b"ID3\x04\0\0\0\0\x02\x01" + bytes(257) + bytes(3_000),
    "padding and a large tag": lambda: bytes(5_000) + b"ID3\x04\0\0\0\x12\x02\x01" + bytes((0x12 << 14) + 257),
    "an APE tag": lambda: b"APETAGEX" + bytes.fromhex("d00700002a00000001000000000000a0") + bytes(8) + b"\x55" * 42,
    "white space": lambda: b"\r\n \t\r\n",
    "a byte order mark": lambda: b"\xef\xbb\xbf",
    "headers of HTTP": lambda: b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nServer: x\r\n\r\n",
    "a form": lambda: b'--5f3a9c\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n',
    "zeros": lambda: bytes(70_000),
}
FOUND_BEHIND_JUNK = [("mp3", "libmp3lame"), ("mp2", "mp2"), ("adts", "aac"), ("latm", "aac"), ("ac3", "ac3")]
FOUND_BEHIND_JUNK += [("eac3", "eac3"), ("mpegts", "aac"), ("wv", "wavpack"), ("avi", "libmp3lame"), ("flv", "aac")]
FOUND_BEHIND_JUNK += [("webm", "libopus"), ("asf", "wmav2"), ("mpeg", "mp2"), ("voc", "pcm_s16le")]


@pytest.mark.parametrize("what", PRECEDING)
def test_what_may_precede_a_recording(what: str, files: dict[tuple[str, str], bytes]) -> None:
    before = PRECEDING[what]()
    for key in (*FOUND_BEHIND_JUNK, ("tta", "tta"), ("amr", "libopencore_amrnb")):
        source = Source(before + files[key])
        assert source.container == MADE[key][1], key
        own_tag = Source(files[key]).start
        assert abs(source.start - len(before) - own_tag) <= (4 if what in ("zeros", "white space") else 0), key
        assert source.open().read(64) == files[key][source.start - len(before) :][:64], key
    assert likeness(before + files["mp3", "libmp3lame"]) > 0.95


@pytest.mark.parametrize("key", FOUND_BEHIND_JUNK, ids="/".join)
def test_junk_before_a_recording(key: tuple[str, str], files: dict[tuple[str, str], bytes]) -> None:
    for seed in range(5):
        draw = random.Random(seed)
        junk = bytes([draw.randrange(128, 255)]) + draw.randbytes(draw.randrange(100, 60_000))
        assert Source(junk + files[key]).container == MADE[key][1]
    assert likeness(junk + files[key]) > 0.95


STREAMS = [("mp3", "libmp3lame"), ("mp2", "mp2"), ("adts", "aac"), ("latm", "aac"), ("ac3", "ac3"), ("eac3", "eac3")]
STREAMS += [("mpegts", "mp2"), ("mpeg", "mp2")]


@pytest.mark.parametrize("key", STREAMS, ids="/".join)
def test_a_stream_that_begins_mid_frame(key: tuple[str, str], files: dict[tuple[str, str], bytes]) -> None:
    start = Source(files[key]).start
    for cut in (1, 2, 3, 77, 150):
        source = Source(files[key][start + cut :])
        assert source.container == MADE[key][1]
        assert likeness(files[key][start + cut :]) > 0.9


@pytest.mark.parametrize("key", STREAMS[:-2], ids="/".join)
def test_a_stream_of_a_few_frames(key: tuple[str, str], files: dict[tuple[str, str], bytes]) -> None:
    data = files[key][Source(files[key]).start :]
    (kind,) = (each for each in KINDS if each.container == MADE[key][1] and each.sync.match(data))
    ends = [0]
    while len(ends) < 6:
        header = kind.header_at(data, ends[-1])
        assert header is not None
        ends.append(ends[-1] + header.length)
    for frames in range(1, 5):
        for tail in (b"", b"TAG" + bytes(125), data[ends[frames] : ends[frames] + 30]):
            assert Source(data[: ends[frames]] + tail).container == MADE[key][1], (frames, tail[:4])


def test_damage_in_the_first_frames_does_not_move_the_start(files: dict[tuple[str, str], bytes]) -> None:
    data = bytearray(files["adts", "aac"])
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    data[length] = 0  # the second frame's sync
    source = Source(bytes(data))
    assert (source.container, source.start) == ("aac", 0)


def test_the_table_of_formats() -> None:
    for each in FORMATS:
        assert each.container in av.formats_available, each.name
        assert av.ContainerFormat(each.container, "r").is_input, each.name
    recognised = set(_AT_START) | {kind.container for kind in KINDS}
    assert recognised == CONTAINERS
    assert {"wav", "w64", "aiff", "au", "caf", "nistsphere", "ircam", "flac"} == SNDFILE_FIRST
    assert not AUDIO_SUFFIXES & {".txt", ".json", ".tar", ".parquet", ".csv", ".tsv", ".m3u8", ".mid", ".zip"}
    opening_others = {"hls", "concat", "dash", "image2", "sdp", "rtsp", "webm_dash_manifest", "lavfi", "data", "rtp"}
    assert not CONTAINERS & opening_others


def test_the_page_is_current() -> None:
    assert (ROOT / formats_page.PAGE).read_text(encoding="utf-8") == formats_page.page()


def test_a_tag_that_states_more_than_the_file_has(tmp_path: Path) -> None:
    problem = error_of(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(5_000))
    assert problem.kind == ErrorKind.NOT_AUDIO
    assert "268,435,465 bytes, and the file has 5,010" in problem.detail
    (tmp_path / "a").write_bytes(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(5_000))
    stored = StoredFile(Place.at(str(tmp_path / "a")), 5_010)
    assert error_of(stored).detail == problem.detail
    assert "first bytes (2a 2a 2a 2a" in error_of(b"*" * 5_000).detail


def test_a_lying_tag_hides_no_stream(files: dict[tuple[str, str], bytes]) -> None:
    data = files["mp3", "libmp3lame"]
    stream = data[Source(data).start :]
    assert likeness(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100) + stream) > 0.95


def test_a_codec_without_a_decoder_is_named(files: dict[tuple[str, str], bytes]) -> None:
    for key, known, unknown, named in (
        (("avi", "libmp3lame"), b"\x55\0\x01\0", b"\x33\x01\x01\0", "avi (tag 0x0133)"),
        (("asf", "wmav2"), b"\x61\x01\x01\0", b"\x34\x12\x01\0", "asf (tag 0x1234)"),
        (("wav", "g722"), b"\x8f\x02\x01\0", b"\x33\x01\x01\0", "wav (tag 0x0133)"),
        (("webm", "libopus"), b"A_OPUS", b"A_OPUX", "matroska (A_OPUX)"),
        (("caf", "alac"), b"alac\0\0\0\0", b"\xffxyz\0\0\0\0", "caf (\\xffxyz)"),
        (("3gp", "libopencore_amrnb"), b"samr\0\0\0\0", b"xyzw\0\0\0\0", "mov (xyzw)"),
    ):
        assert known in files[key], key
        problem = error_of(files[key].replace(known, unknown))
        assert problem.kind == ErrorKind.UNREADABLE
        assert problem.detail.startswith(f"{named}: "), problem.detail


def test_encrypted_sound_is_not_decoded_to_noise(files: dict[tuple[str, str], bytes]) -> None:
    for kind in (b"enca", b"drms", b"aavd"):
        problem = error_of(files["mp4", "aac"].replace(b"mp4a\0\0\0\0", kind + bytes(4)))
        assert (problem.kind, f"encrypted ({kind.decode()})" in problem.detail) == (ErrorKind.UNREADABLE, True)
    wma = files["asf", "wmav2"]
    header_bytes, boxes = int.from_bytes(wma[16:24], "little"), int.from_bytes(wma[24:28], "little")
    box = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e") + (40).to_bytes(8, "little") + bytes(16)
    sizes = (header_bytes + 40).to_bytes(8, "little") + (boxes + 1).to_bytes(4, "little")
    problem = error_of(wma[:16] + sizes + wma[28:30] + box + wma[30:])
    assert (problem.kind, problem.detail) == (ErrorKind.UNREADABLE, "asf: the sound is encrypted")


FOREIGN = {
    "random": lambda draw: draw.randbytes(50_000),
    "a pattern": lambda draw: draw.randbytes(draw.randrange(1, 65)) * 5_000,
    "quiet samples": lambda draw: np.random.default_rng(draw.randrange(99)).normal(0, 2, 25_000).astype(">i2").data,
    "numbers": lambda draw: (np.arange(12_500) * draw.randrange(1, 9_999) + (1 << 30)).astype(">u4").data,
    "a picture": lambda draw: b"\xff\xd8\xff\xe0" + draw.randbytes(50_000),
    "rows": lambda draw: draw.randbytes(draw.randrange(60, 900)) * 60,
    "a ZIP of WAVs": lambda draw: b"PK\x03\x04" + draw.randbytes(40) + encoded(SPEECH[0][:20_000]),
    "syncs": lambda draw: bytes(draw.choices(b"\xff\xfb\xf1\xe3\x0b\x77\x56\xe0\x47\0", k=20_000)),
    "text": lambda draw: "".join(draw.choices("the free mdat RIFF WAVE OggS G\n中文é", k=20_000)).encode("utf-16"),
    "a sync and noise": lambda draw: draw.choice([b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80", b"\x0b\x77\0\0\x10\x40"])
    + draw.randbytes(50_000),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_audio_is_never_taken_for_it(what: str) -> None:
    for seed in range(8):
        data = bytes(FOREIGN[what](random.Random(seed)))
        assert Source(data).container is None, seed
    assert error_of(data).kind == ErrorKind.NOT_AUDIO


def test_no_head_raises(files: dict[tuple[str, str], bytes]) -> None:
    heads = [data[:400] for data in files.values()]
    for seed in range(3_000):
        draw = random.Random(seed)
        head = bytearray(draw.choice(heads)[: draw.randrange(400)])
        for _ in range(draw.randrange(4)):
            if head:
                head[draw.randrange(len(head))] = draw.choice([0, 1, 0x7F, 0xFF, draw.randrange(256)])
        before = draw.choice([b"", b"ID3\x04\0\0", b"\r\n", b"APETAGEX" + draw.randbytes(30), draw.randbytes(20)])
        source = Source(before + bytes(head))
        assert source.container in CONTAINERS | {None}
        assert source.start >= 0


#: First bytes of frames, the bytes that each takes, and its container.
FRAMES = {
    "MPEG-1 layer III, 128 kbit at 44.1 kHz": ("fffb9064", 417, "mp3"),
    "padded": ("fffb9264", 418, "mp3"),
    "MPEG-2 layer III, 64 kbit at 22.05 kHz": ("fff380c4", 208, "mp3"),
    "MPEG-2.5 layer III, 8 kbit at 8 kHz": ("ffe318c4", 72, "mp3"),
    "MPEG-1 layer II, 192 kbit at 48 kHz": ("fffda404", 576, "mp3"),
    "MPEG-2 layer II, 32 kbit at 16 kHz": ("fff548c4", 288, "mp3"),
    "MPEG-1 layer I, 384 kbit at 48 kHz": ("ffffc404", 384, "mp3"),
    "MPEG-2 layer I, 128 kbit at 24 kHz": ("fff78404", 256, "mp3"),
    "MPEG-1 layer III of a free rate": ("fffb0064", 611, "mp3"),
    "AC-3, 192 kbit at 48 kHz": ("0b77cc5f1440", 768, "ac3"),
    "AC-3, 448 kbit at 44.1 kHz": ("0b77cc5f5f40", 1_952, "ac3"),
    "E-AC-3": ("0b7700ff3f80", 512, "eac3"),
    "DTS, 1,024 bytes": ("7ffe8001fc3c3ff0b5e00138", 1_024, "dts"),
    "DTS, little-endian": ("fe7f01803cfcf03fe0b53801", 1_024, "dts"),
    "DTS, 14 bits a word": ("1fffe80007f0fcdffc2d1e0004e0", 4_096, "dts"),
    "DTS, 14 bits a word, little-endian": ("ff1f00e8f007dffc2dfc001ee004", 4_096, "dts"),
}


@pytest.mark.parametrize("what", FRAMES)
def test_frames_of_which_none_can_be_made_here(what: str) -> None:
    head, length, container = bytes.fromhex(FRAMES[what][0]), *FRAMES[what][1:]
    draw = random.Random(1)
    frames = [head + draw.randbytes(length - len(head)) for _ in range(20)]
    for before in (b"", b"\x99" + draw.randbytes(3_000) if "free" not in what else b""):
        source = Source(before + b"".join(frames))
        assert (source.container, source.start) == (container, len(before))
        odd = [frame + bytes(1) for frame in frames]  # no frame ends where its header says
        assert "free" in what or Source(before + b"".join(odd)).container is None


def test_little_is_read_of_most_files(files: dict[tuple[str, str], bytes]) -> None:
    def reads_of(data: bytes) -> list[tuple[int, int]]:
        asked = list[tuple[int, int]]()

        def read(first: int, count: int) -> bytes:
            asked.append((first, count))
            return data[first : first + count]

        assert recognise(read, len(data)).container
        return asked

    for key in (("avi", "ac3"), ("wav", "g722"), ("mp4", "aac"), ("webm", "libopus"), ("tta", "tta")):
        assert reads_of(files[key]) == [(0, 128)]
        assert reads_of(PRECEDING["an ID3 tag"]() + files[key]) == [(0, 128), (267, 128)]
    assert sum(count for _, count in reads_of(files["ac3", "ac3"])) < 140_000


def test_patterns_do_not_take_long() -> None:
    for pattern in (
        b"dX % ",
        b"\xff\xfa\x01",
        b"G",
        b"\x0bw",
        b"V\xe0\x05",
        b"\x1aE\xdf\xa3\x42\x82",
        b"\xff\xfe\0\1\0",
    ):
        before = time.process_time()
        assert Source(b"\x99" + pattern * 60_000).container is None
        assert time.process_time() - before < 4, pattern


@pytest.mark.parametrize("key", [("mp3", "libmp3lame"), ("avi", "ac3"), ("mpegts", "mp2")], ids="/".join)
def test_a_stored_file_is_recognised_as_its_bytes_are(
    key: tuple[str, str], files: dict[tuple[str, str], bytes], tmp_path: Path
) -> None:
    data = PRECEDING["padding and a large tag"]() + files[key]
    (tmp_path / "a").write_bytes(data)
    stored, kept = Source(StoredFile(Place.at(str(tmp_path / "a")), len(data))), Source(data)
    assert (stored.container, stored.start) == (kept.container, kept.start)
    assert stored.open().read() == kept.open().read()


def test_periods_and_tables_are_no_streams() -> None:
    draw = random.Random(1)
    row = b"G\x01\x00\x10" + draw.randbytes(184)
    columns = [b"G\x01\x00\x00" + draw.randbytes(184) for _ in range(40)]  # neither a payload nor a field
    jumps = [b"\xff\xff\xb8" + bytes([each]) for each in range(0x40, 0xC0)] * 100  # offsets, as compilers write them
    numbers = [(0x47 << 24 | number * 70_001 & 0x7FFFFF | 0x10).to_bytes(4, "big") for number in range(5_000)]
    records = [b"\xff\xff" + bytes(9) + draw.randbytes(45) for _ in range(400)]
    for parts in ([row] * 40, columns, jumps, numbers, [b"\x99", *records]):
        assert Source(b"".join(parts)).container is None
        assert Source(b"\x99\x98\x97" + b"".join(parts)).container is None
    packets = [row[:3] + bytes([0x10 | number & 15]) + draw.randbytes(184) for number in range(40)]
    assert Source(b"".join(packets)).container == "mpegts"
