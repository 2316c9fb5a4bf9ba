"""Makes equal what speakers of Mandarin say in several ways for one number, so that none of them counts as an error."""

import re

_DIGIT = "零一二三四五六七八九"
_NUMERAL = f"{_DIGIT}十百千万亿"
_HOUR = f"(?:二?十[一二三四五六七八九]?|[{_DIGIT}])"
_MINUTE = "(?:零[一二三四五六七八九]|[二三四五]?十[一二三四五六七八九]?)"
_COUNTED = (
    "个只位名人条张次天周岁点分秒块元米里斤间层种件本套台辆架艘头匹棵朵片对把家座份首句回遍趟场倍篇组队步口杯瓶碗袋箱包盒支枝"
    "根颗粒滴幅项年批类款股道门节则起笔轮吨升克度者边侧国半公厘毫平立美欧英摄时小刻角毛成到至多"
)
#: What is replaced, in this order: each leaves nothing that it or an earlier one would replace again.
_EQUAL = [
    (re.compile(f"两(?=[{_NUMERAL}{_COUNTED}〇○幺两])|(?<=[{_NUMERAL}〇○幺两第负])两"), "二"),
    (re.compile(f"幺(?=[{_DIGIT}〇○幺])|(?<=[{_DIGIT}〇○幺])幺"), "一"),
    (re.compile(f"〇|(?<=[{_DIGIT}〇○])○"), "零"),
    (re.compile("(?<=[百千万亿零])十"), "一十"),
    (re.compile("万零(?=[一二三四五六七八九][百千])"), "万"),
    (re.compile("亿零(?=[一二三四五六七八九](?:[百千]|十[一二三四五六七八九]?万|万))"), "亿"),
    (re.compile(f"(?<=[一二三四五六七八九]百)([一二三四五六七八九])(?![{_NUMERAL}点分])"), r"\1十"),
    (re.compile(f"(?<=[一二三四五六七八九]千)([一二三四五六七八九])(?![{_NUMERAL}点分])"), r"\1百"),
    (re.compile(f"(?<=[一二三四五六七八九十]万)([一二三四五六七八九])(?![{_NUMERAL}点分])"), r"\1千"),
    (re.compile(f"(?<=[一二三四五六七八九十]亿)([一二三四五六七八九])(?![{_NUMERAL}点分])"), r"\1千万"),
    (re.compile("零下(?=[一二三四五六七八九零十百千万])"), "负"),
    (re.compile("百分之负"), "负百分之"),
    (re.compile("摄氏度"), "度"),
    (re.compile("公斤"), "千克"),
    (re.compile("公里"), "千米"),
    (re.compile(f"(?<=[{_NUMERAL}])至(?=百分之|[{_NUMERAL}])"), "到"),
    (re.compile("到百分之"), "到"),
    (re.compile("百分之百"), "百分之一百"),
    (re.compile("乘以"), "乘"),
    (re.compile("二千年"), "二零零零年"),
    (re.compile(f"({_HOUR})时(?={_MINUTE}分)"), r"\1点"),
    (re.compile(f"(?<=[{_DIGIT}十]点)半"), "三十"),
    (re.compile(f"(?<=[{_DIGIT}十]点)一刻"), "十五"),
    (re.compile(f"(?<=[{_DIGIT}十]点)三刻"), "四十五"),
    (re.compile(f"(?<=[{_DIGIT}十]点)(?:[整钟正]+|零零?分|零零(?![{_DIGIT}]))"), ""),
    (re.compile(f"(?<=[{_DIGIT}十]点)({_MINUTE})分(?![之分])"), r"\1"),
    (re.compile(f"(月[二三]?十?[{_DIGIT[1:]}十])号"), r"\1日"),
    (re.compile(f"每小时([{_NUMERAL}点]{{1,16}})([千万亿]?米)"), r"\1\2每小时"),
]
_ANY = re.compile(f"[{_NUMERAL}〇两幺]")


def alike(text: str) -> str:
    """A text with one reading of each number that has several: 〇 零, 幺 一 and 两 二 in numbers, 一百一 and 一百一十,
    两点半 and 两点三十分, 零下 and 负, 摄氏度 and 度, 号 and 日 of a date. For comparing: it is no text for readers."""
    if not _ANY.search(text):
        return text
    for pattern, reading in _EQUAL:
        text = pattern.sub(reading, text)
    return text
