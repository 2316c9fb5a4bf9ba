"""Mandarin sentences for the demo: a small grammar, drawn from by seed.

    python -m demo.sentences [--count 20000] [--seed 1] [--out build/demo/texts.txt]

writes some of the training set, a line each, for a language model.

A sentence is a template whose slots are filled at random. A sentence belongs to the held-out set or to the
training set by a hash of its text alone, so no text is ever in both, whatever was drawn and in whatever order.
"""

import argparse
import hashlib
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

HELD_OUT_SHARE = 16  # one text in 16 is held out

DIGITS = "零一二三四五六七八九"

_WORDS = {
    "person": "小明 小红 王老师 李医生 张先生 陈小姐 爸爸 妈妈 爷爷 奶奶 哥哥 妹妹 弟弟 我 我们 同学们 邻居 司机",
    "place": "北京 上海 广州 深圳 南京 杭州 成都 武汉 西安 天津 重庆 青岛 大连 昆明 香港 台湾",
    "spot": "公园 学校 医院 图书馆 火车站 机场 银行 超市 饭店 办公室 电影院 邮局 博物馆 体育场 海边 山上",
    "weather": "晴天 多云 小雨 大雨 下雪 刮风 有雾 很热 很冷 非常凉快",
    "verb": "看书 跑步 游泳 唱歌 跳舞 开会 吃饭 喝茶 睡觉 写作业 打电话 听音乐 买东西 画画 踢足球 拍照",
    "thing": "苹果 香蕉 牛奶 面包 鸡蛋 米饭 蔬菜 水果 手机 电脑 衣服 鞋子 雨伞 桌子 椅子 花瓶",
    "quality": "新鲜 便宜 漂亮 好吃 重要 有趣 干净 舒服 特别贵 非常旧",
    "when": "早上 上午 中午 下午 晚上 夜里",
    "day": "今天 明天 昨天 后天 星期一 星期二 星期三 星期四 星期五 星期六 星期日",
    "vehicle": "飞机 火车 汽车 地铁 轮船 自行车",
    "relation": "以前 以后",
    "direction": "东边 西边 南边 北边 左边 右边 前面 后面 对面 旁边",
    "colour": "红色 黄色 蓝色 绿色 白色 黑色",
    "unit_of_goods": "个 斤 公斤 箱 袋",
}
SLOTS = {slot: words.split() for slot, words in _WORDS.items()}

TEMPLATES = [
    "{day}{when}{person}在{spot}{verb}",
    "{place}{day}{weather}气温{degrees}度",
    "{year}年{month}月{date}日{person}去了{place}",
    "{thing}一共{amount}元{quality}得很",
    "请在{when}{hour}点{minute}分到{spot}{direction}等我",
    "{person}坐{vehicle}从{place}到{place}要{hour}个小时",
    "电话号码是{digits}",
    "{person}想买{number}{unit_of_goods}{colour}的{thing}",
    "{spot}的{direction}有一家{quality}的商店",
    "房间{number}住着{person}和{person}",
    "{day}的会议改到{when}{hour}点半开始",
    "这件{colour}的{thing}比那件{quality}百分之{number}",
    "{person}觉得{place}的{thing}最{quality}",
    "你知道{person}{relation}为什么喜欢{verb}吗",
]


def say_number(value: int) -> str:
    """A whole number below 100,000 as it is read aloud: 3205 -> 三千二百零五."""
    if value == 0:
        return "零"
    if value >= 10_000:
        high, rest = divmod(value, 10_000)
        gap = "零" if 0 < rest < 1000 else ""
        return say_number(high) + "万" + gap + (say_number(rest) if rest else "")
    text, gap = "", False
    for place, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // place % 10
        if digit:
            text += ("零" if gap else "") + DIGITS[digit] + name
        gap = bool(text) and not digit
    return text[1:] if 10 <= value < 20 else text


def fill(template: str, draw: random.Random) -> str:
    """One sentence of a template, every slot drawn on its own."""

    def numeral(slot: str) -> str:
        ranges = {"degrees": (0, 39), "month": (1, 12), "date": (1, 31), "hour": (1, 12), "minute": (1, 59)}
        if slot == "year":
            return "".join(DIGITS[int(digit)] for digit in str(draw.randint(1950, 2029)))
        if slot == "digits":
            return "".join(draw.choice(DIGITS) for _ in range(draw.randint(7, 11)))
        if slot == "amount":
            return say_number(draw.choice([draw.randint(2, 99), draw.randint(100, 9999), draw.randint(10_000, 99_999)]))
        return say_number(draw.randint(*ranges.get(slot, (1, 999))))

    text = ""
    for piece in template.replace("}", "{").split("{"):
        known = piece in SLOTS
        text += draw.choice(SLOTS[piece]) if known else numeral(piece) if piece.isascii() and piece else piece
    return text


def is_held_out(text: str) -> bool:
    """Whether a text belongs to the held-out set, by its hash."""
    return hashlib.sha256(text.encode()).digest()[0] % HELD_OUT_SHARE == 0


def sentences(seed: int, held_out: bool) -> Iterator[str]:
    """An endless stream of different texts of one of the two sets."""
    draw, seen = random.Random(seed), set[str]()
    while True:
        text = fill(draw.choice(TEMPLATES), draw)
        if is_held_out(text) == held_out and text not in seen:
            seen.add(text)
            yield text


def alphabet() -> list[str]:
    """Every character that the grammar can produce, sorted: the vocabulary of the demo model."""
    texts = [word for words in SLOTS.values() for word in words] + TEMPLATES
    return sorted({char for text in texts for char in text if not char.isascii()} | set(DIGITS + "十百千万"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes sentences of the demo's training set, a line each.")
    parser.add_argument("--count", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("build/demo/texts.txt"), help="default: %(default)s")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    texts = islice(sentences(options.seed, held_out=False), options.count)
    options.out.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


if __name__ == "__main__":
    main()
