"""The formats of audio and video that are read: by which names they go, and what decodes them.

This table is the only one. Recognition, suffixes, estimates, the order of the decoders and docs/formats.md derive from
it. A container is opened as that format by name, so none that opens other files (playlists, HLS, DASH, concat, SDP) can
be meant.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioFormat:
    """A format as people know it.

    `container` is the name of FFmpeg's demuxer, `suffixes` are without dots, and `bytes_per_second` is what a second of
    its sound usually takes, with its pictures if it is a film. `is_sndfile_first` tells that libsndfile opens the
    container before FFmpeg tries it.
    """

    name: str
    container: str
    suffixes: tuple[str, ...]
    bytes_per_second: int
    holds: str
    is_sndfile_first: bool = False


def _by_sndfile(name: str, container: str, suffixes: str, bytes_per_second: int, holds: str) -> AudioFormat:
    return AudioFormat(name, container, tuple(suffixes.split()), bytes_per_second, holds, is_sndfile_first=True)


def _by_ffmpeg(name: str, container: str, suffixes: str, bytes_per_second: int, holds: str) -> AudioFormat:
    return AudioFormat(name, container, tuple(suffixes.split()), bytes_per_second, holds)


_PCM, _SPEECH, _MUSIC, _LOSSLESS = 32_000, 3_000, 8_000, 16_000  # 16 kHz mono 16 bit, and usual rates of codecs
_MIXED, _FILM, _CAMERA, _STUDIO = 50_000, 250_000, 1_000_000, 4_000_000  # sound alone or a film; films

FORMATS = (
    _by_sndfile("WAV, RF64, BW64", "wav", "wav wave rf64 bw64 bwf", _PCM, "PCM, float, A-law, µ-law, ADPCM, GSM, MP3"),
    _by_sndfile("Wave64", "w64", "w64", _PCM, "as WAV"),
    _by_sndfile("AIFF, AIFC", "aiff", "aif aiff aifc", _PCM, "PCM, float, A-law, µ-law, IMA ADPCM"),
    _by_sndfile("AU, Sun audio", "au", "au snd", _PCM, "PCM, float, A-law, µ-law, G.721"),
    _by_sndfile("Core Audio", "caf", "caf", _PCM, "PCM, ALAC, AAC, Opus, IMA ADPCM"),
    _by_sndfile("NIST SPHERE", "nistsphere", "sph nist", _PCM, "PCM, A-law, µ-law, Shorten"),
    _by_sndfile("IRCAM", "ircam", "ircam", _PCM, "PCM, float, A-law, µ-law"),
    _by_sndfile("FLAC", "flac", "flac", _LOSSLESS, "FLAC"),
    _by_ffmpeg("MP3, MP2, MP1", "mp3", "mp3 mp2 mp1 mpga mpa m2a", _MUSIC, "MPEG-1, 2 and 2.5, layers I to III"),
    _by_ffmpeg("AAC (ADTS)", "aac", "aac adts", _MUSIC, "AAC, HE-AAC"),
    _by_ffmpeg("AAC (LATM, LOAS)", "loas", "latm loas", _MUSIC, "AAC, HE-AAC"),
    _by_ffmpeg("AC-3", "ac3", "ac3", 24_000, "Dolby Digital"),
    _by_ffmpeg("E-AC-3", "eac3", "eac3 ec3", 24_000, "Dolby Digital Plus"),
    _by_ffmpeg("DTS", "dts", "dts", 96_000, "DTS, DTS-HD"),
    _by_ffmpeg("DTS-HD", "dtshd", "dtshd", 96_000, "DTS-HD"),
    _by_ffmpeg("Ogg", "ogg", "ogg oga", _MUSIC, "Vorbis, Opus, FLAC, Speex"),
    _by_ffmpeg("Ogg Opus, Ogg Speex", "ogg", "opus spx", _SPEECH, "Opus, Speex"),
    _by_ffmpeg("Ogg video", "ogg", "ogv ogm ogx", _FILM, "as Ogg"),
    _by_ffmpeg("M4A, MPEG-4 audio", "mov", "m4a m4b m4r", _MUSIC, "AAC, ALAC, MP3, AC-3, Opus, FLAC"),
    _by_ffmpeg("MP4, QuickTime", "mov", "mp4 mov qt", _MIXED, "as M4A, and PCM, AMR"),
    _by_ffmpeg("3GPP", "mov", "3gp 3gpp 3g2", _SPEECH, "AMR, AAC"),
    _by_ffmpeg("MPEG-4 video", "mov", "m4v f4v", _FILM, "as M4A"),
    _by_ffmpeg("Matroska audio, WebM audio", "matroska", "mka weba", _MUSIC, "Opus, Vorbis, AAC, MP3, AC-3, FLAC, PCM"),
    _by_ffmpeg("Matroska, WebM", "matroska", "webm mkv mk3d", _MIXED, "as Matroska audio"),
    _by_ffmpeg("AMR", "amr", "amr awb", _SPEECH, "AMR-NB, AMR-WB"),
    _by_ffmpeg("iLBC", "ilbc", "lbc", 2_000, "iLBC"),
    _by_ffmpeg("QCP", "qcp", "qcp", 1_700, "QCELP, EVRC"),
    _by_ffmpeg("DSS", "dss", "dss", 1_700, "dictation: DSS SP, G.723.1"),
    _by_ffmpeg("Windows Media Audio", "asf", "wma asf", _MUSIC, "WMA 1 and 2, Pro, Lossless, Voice"),
    _by_ffmpeg("Windows Media Video", "asf", "wmv", _FILM, "as Windows Media Audio"),
    _by_ffmpeg("RealAudio", "rm", "ra", 4_000, "RealAudio 1 to 10, AAC"),
    _by_ffmpeg("RealMedia", "rm", "rm rmvb", _MIXED, "as RealAudio"),
    _by_ffmpeg("Creative Voice", "voc", "voc", 11_000, "PCM, ADPCM, A-law, µ-law"),
    _by_ffmpeg("WavPack", "wv", "wv", _LOSSLESS, "WavPack"),
    _by_ffmpeg("True Audio", "tta", "tta", _LOSSLESS, "TTA"),
    _by_ffmpeg("Monkey's Audio", "ape", "ape", _LOSSLESS, "APE"),
    _by_ffmpeg("TAK", "tak", "tak", _LOSSLESS, "TAK"),
    _by_ffmpeg("Shorten", "shn", "shn", _LOSSLESS, "Shorten"),
    _by_ffmpeg("Musepack 7", "mpc", "mpc mpp", 20_000, "Musepack"),
    _by_ffmpeg("Musepack 8", "mpc8", "", 20_000, "Musepack"),
    _by_ffmpeg("TrueHD", "truehd", "thd", 200_000, "Dolby TrueHD"),
    _by_ffmpeg("DSF", "dsf", "dsf", 700_000, "DSD"),
    _by_ffmpeg("DSDIFF, 8SVX", "iff", "dff 8svx", 700_000, "DSD, 8-bit PCM"),
    _by_ffmpeg("OpenMG", "oma", "oma aa3", 16_000, "ATRAC3, ATRAC3plus, MP3, PCM"),
    _by_ffmpeg("Yamaha SMAF", "mmf", "mmf", _MUSIC, "Yamaha ADPCM"),
    _by_ffmpeg("SoX", "sox", "sox", 64_000, "32-bit PCM"),
    _by_ffmpeg("Portable Voice Format", "pvf", "pvf", _PCM, "PCM"),
    _by_ffmpeg("AVI", "avi", "avi divx", _FILM, "PCM, MP3, AC-3, DTS, AAC, ADPCM"),
    _by_ffmpeg("Flash Video", "flv", "flv", _FILM, "MP3, AAC, Nellymoser, Speex, PCM"),
    _by_ffmpeg("MPEG transport stream", "mpegts", "ts m2t", _FILM, "MPEG audio, AAC, AC-3, E-AC-3, DTS, Opus"),
    _by_ffmpeg("AVCHD, Blu-ray", "mpegts", "m2ts mts", _CAMERA, "as MPEG transport stream, and PCM"),
    _by_ffmpeg("MPEG program stream", "mpeg", "mpg mpeg vob m2p", _FILM, "MPEG audio, AC-3, DTS, PCM"),
    _by_ffmpeg("Windows TV recording", "wtv", "wtv", _CAMERA, "as MPEG transport stream"),
    _by_ffmpeg("MXF", "mxf", "mxf", _STUDIO, "PCM, AAC, MPEG audio"),
    _by_ffmpeg("GXF", "gxf", "gxf", _STUDIO, "PCM, AC-3"),
    _by_ffmpeg("DV", "dv", "dv", _STUDIO, "PCM"),
    _by_ffmpeg("NUT", "nut", "nut", _MIXED, "what FFmpeg writes"),
)  # fmt: skip

SNDFILE_FIRST = frozenset(each.container for each in FORMATS if each.is_sndfile_first)

#: The suffixes of audio and of films, with their dots.
AUDIO_SUFFIXES = frozenset(f".{suffix}" for each in FORMATS for suffix in each.suffixes)

SECONDS_PER_BYTE = {suffix: 1 / each.bytes_per_second for each in FORMATS for suffix in each.suffixes}
