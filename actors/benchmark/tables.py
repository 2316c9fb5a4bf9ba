"""The tables of a benchmark's report."""

from actors.benchmark.reports import PIPELINES, CodecTime, DecodingTime, KernelReport, Report
from actors.benchmark.results import Result, Table


def result_of(report: Report) -> Result:
    """A report as a result to keep, with its tables."""
    tables = [sides_table(report)] if report["sides"] else []
    tables += [kernel_table(report["kernels"])] if "kernels" in report else []
    tables += [decoding_table(report["decoding"])] if "decoding" in report else []
    tables += [codec_table(report["codecs"])] if "codecs" in report else []
    audio = f"{report['minutes']:g} minutes of audio, 2 to 15 s per recording"
    about = f"{audio}. Medians; start-up is not part of the speed."
    is_whole_job = any(side["side"] in PIPELINES for side in report["sides"])
    title = "The whole job beside the bare engine" if is_whole_job else report["model"]
    if not report["sides"] and "codecs" in report:
        title, about = "Files of each codec", f"{report['minutes']:g} minutes a file. Medians of CPU time."
    return Result(
        title,
        about,
        tables,
        report["machine"],
        report["command"],
        report["date"],
        report["commit"],
        report["versions"],
        measured=report,
    )


def sides_table(report: Report) -> Table:
    """The sides of a report; ratios are to the faster of NeMo's own transcribe() runs."""
    shipped = [side["rtfx"] for side in report["sides"] if "transcribe()" in side["side"]]
    rows = [
        [
            side["side"],
            f"{side['rtfx']:.1f}",
            f"{side['rtfx'] / max(shipped):.2f}" if shipped else "",
            "" if side["padding"] is None else f"{side['padding']:.1%}",
            f"{side['start_s']:.1f}",
            "" if side["peak_gb"] is None else f"{side['peak_gb']:.1f}",
        ]
        for side in report["sides"]
    ]
    return Table(["", "x real time", "to transcribe()", "padding", "start-up s", "peak GB"], rows)


def kernel_table(found: KernelReport) -> Table:
    """The kernels of a report. A kernel near 100 % of its minimum time cannot become faster."""
    whole = sum(row["batch_ms"] for row in found["kernels"])
    rows = [
        [
            row["kernel"],
            row["shape"],
            str(row["calls"]),
            f"{row['ms']:.3f}",
            f"{row['least_ms'] / row['ms']:.0%}",
            f"{row['batch_ms'] / whole:.1%}",
        ]
        for row in found["kernels"]
    ]
    rows += [[each["kernel"], each["choice"], "", f"{each['ms']:.3f}", "", ""] for each in found["choices"]]
    rates = "copies {copy_gb_s:,.0f} GB/s, products {product_gflop_s:,.0f} GFLOP/s".format(**found)
    title = f"one batch of {found['seconds']:g} s; {rates}"
    return Table(["kernel", "shape", "calls", "ms", "minimum / ms", "of the batch"], rows, title)


def decoding_table(found: list[DecodingTime]) -> Table:
    """Ways to decode emissions, on one core each."""
    rows = [[each["side"], each["sound"], f"{each['frames_s']:,}", f"{each['rtfx']:,}"] for each in found]
    return Table(["text by", "sound", "frames a second", "x real time"], rows, "decoding, a core")


def codec_table(found: list[CodecTime]) -> Table:
    """What reading files costs, by codec."""
    rows = [
        [
            each["codec"],
            each["sound"],
            f"{each['read_s']:.2f}",
            f"{each['decoder_s']:.2f}",
            f"{each['resampler_s']:.2f}",
            f"{each['ratio']:.2f}",
            f"{each['rtfx']:,}",
        ]
        for each in found
    ]
    columns = ["file", "sound", "read", "decoder alone", "resampler on mono", "read / both", "x real time"]
    return Table(columns, rows, "reading files, core-seconds an audio hour")
