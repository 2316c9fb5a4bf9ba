"""Writes docs/formats.md, the formats of audio that are read, from the code's table: python -m jobs.cli.formats_page

A test holds that it is current.
"""

from pathlib import Path

from actors.formats import FORMATS, AudioFormat

PAGE = Path("docs/formats.md")

_INTRODUCTION = """# Formats

<!-- Written by `make docs` from actors/formats.py. -->

The formats of audio and of films that citrascribe reads, the suffixes by which it takes a file for one of them, and
what it does not read. [inputs.md](inputs.md) has everything else about inputs.

| format | suffixes | what it may hold | first decoder |
|---|---|---|---|
"""

_REST = """
A suffix only decides whether a file is read. What it holds is told by its bytes: an AC-3 stream that is called `.mp3`
is read as AC-3. Suffixes count in any case.

Some suffixes also mean something else: `.ts` and `.mts` TypeScript, `.dts` a device tree, `.voc` a vocabulary, `.au` a
project of an editor. Such a file is read too and becomes a row `not_audio`, so that no recording is passed over in
silence. `input.exclude` leaves such files out.

## Where a recording begins

- Tags are passed over, of any size and any number: ID3v2 and APEv2; and so are padding, white space, and the headers of
  HTTP or of a form that someone saved with the file.
- Where the first bytes still tell nothing, the first 128 kB behind them are searched: for the beginning of a container,
  and for frames. MPEG audio, AAC, AC-3, E-AC-3, DTS, transport and program streams may begin in the middle of a frame
  or behind junk. Several frames must follow one another, by the lengths that their headers state, with the same
  parameters.
- Files that hold others (ZIP, PDF, programs, pictures, Parquet, documents) are not searched.

## What is not read, and why

| what | why |
|---|---|
"""

_NOT_READ = {
    "playlists and descriptions: M3U, PLS, CUE, HLS, DASH, SDP": "They name other files, which may be anywhere.",
    "samples without a header: `.raw` `.pcm` `.al` `.ul` `.vox` `.gsm` `.g722`": "Nothing tells their rate and codec.",
    "notes and modules: MIDI, MOD, XM, IT": "They hold no recorded sound.",
    "SILK (voice messages of some apps), Codec 2, AC-4, MPEG-H": "FFmpeg has no decoder for them.",
    "AAC in ADIF, Flash (`.swf`), formats of games": "Hardly anyone keeps speech in them.",
    "Audible (`.aa`, `.aax`), FairPlay (`.m4p`), Windows Media DRM, Common Encryption": "They are encrypted.",
    "DWVW in AIFF (samplers of the 1990s)": "libsndfile cannot seek in it, and its Python interface needs that.",
    "any other codec without a decoder": "The error names the codec.",
    "films without sound": "There is nothing to transcribe.",
    "archives: ZIP, RAR, 7z": "Only tars are [shards](inputs.md#tar-shards).",
}

_END = """
Such files are skipped and counted if their suffix is not in the table above. Else they are rows: `not_audio` where the
bytes are of no format above, and `unreadable` where they are and no decoder gets sound from them. `input.format=audio`
reads files of any suffix.
"""


def page() -> str:
    """docs/formats.md."""
    not_read = (f"| {what} | {why} |\n" for what, why in _NOT_READ.items())
    return _INTRODUCTION + "".join(map(_row, FORMATS)) + _REST + "".join(not_read) + _END


def _row(each: AudioFormat) -> str:
    suffixes = " ".join(f".{suffix}" for suffix in each.suffixes)
    decoder = "libsndfile" if each.is_sndfile_first else "FFmpeg"
    return f"| {each.name} | {f'`{suffixes}`' if suffixes else ''} | {each.holds} | {decoder} |\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
