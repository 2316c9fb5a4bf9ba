"""Digits read aloud in Mandarin, so that written references can be compared with what a model writes."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.text.normalise import Normalisation, normalise
from actors.text.phrases import phrases_in
from actors.text.written.readings import alike
from actors.text.written.said import quantity
from actors.text.written.spoken import spoken_form
from jobs import evaluate
from jobs.transcripts.phrase_scores import PhraseScores

SPOKEN = Normalisation(digits="spoken")
#: Written, said; one case a line, by kind.
CASES = {
    "years": """
        2023届 二零二三届
        1997回归 一九九七回归
        95后 九五后
        2026年 二零二六年
        1949年10月1日 一九四九年十月一日
        2000年 二零零零年
        08年 零八年
        98年3月 九八年三月
        98年的时候 九八年的时候
        30年来 三十年来
        有5000年历史 有五千年历史
        长达1200年 长达一千二百年
        2020-2025年 二零二零到二零二五年
        2020/2021赛季 二零二零/二零二一赛季
        2008奥运会 二零零八奥运会
        80年代 八十年代
        1980年代 一九八零年代
        90后 九零后
        公元前221年 公元前二二一年
        2年级 二年级
        2年 两年
        ２０２６年 二零二六年""",
    "dates": """
        2025-11-26日本队 二零二五年十一月二十六日日本队
        2025-11-26日 二零二五年十一月二十六日
        2026年11月25日 二零二六年十一月二十五日
        2026年01月05日 二零二六年一月五日
        2025-11-26出发 二零二五年十一月二十六日出发
        2025/1/6出发 二零二五年一月六日出发
        2025.11.26晚 二零二五年十一月二十六日晚
        2025-11的账 二零二五年十一月的账
        2月2号 二月二号
        1月-3月 一月到三月
        5月1日-7日 五月一日到七日""",
    "times": """
        13:15分 十三点十五分
        13:15出发 十三点十五分出发
        早上9:05 早上九点零五分
        8:00上课 八点上课
        00:30分手 零点三十分分手
        2:30见 两点三十分见
        12点见 十二点见
        2点见 两点见
        8点05分 八点零五分
        8点00分 八点整
        9:00-17:30营业 九点到十七点三十分营业
        13：15出发 十三点十五分出发
        13:15:20开始 十三点十五分二十秒开始""",
    "percentages": """
        30.5%的人 百分之三十点五的人
        涨了5% 涨了百分之五
        30 %的人 百分之三十的人
        -5%的增长 负百分之五的增长
        3-5%的人 百分之三到五的人
        3%-5%的人 百分之三到百分之五的人
        99.9‰的人 千分之九十九点九的人
        ３０％的人 百分之三十的人""",
    "numbers": """
        共12个 共十二个
        共0个 共零个
        共101人 共一百零一人
        共110人 共一百一十人
        共1010人 共一千零一十人
        共2222人 共两千二百二十二人
        共10500人 共一万零五百人
        共1,234人 共一千二百三十四人
        共1,234,567人 共一百二十三万四千五百六十七人
        共100000001人 共一亿零一人
        共20000人 共两万人
        共12345678人 共一千二百三十四万五千六百七十八人
        0.05吨 零点零五吨
        约3.14 约三点一四
        2.5万人 二点五万人
        350万人 三百五十万人
        2亿人 两亿人
        1.5亿人 一点五亿人
        1,234.5元 一千二百三十四点五元
        选1,2,3 选一,二,三""",
    "amounts": """
        5万/年 五万每年
        ￥35.5的书 三十五点五元的书
        35.5元 三十五点五元
        ￥35元 三十五元
        ￥2.5万的车 二点五万元的车
        ¥1,234买的 一千二百三十四元买的
        $20的书 二十美元的书
        5元/斤 五元每斤
        2块钱 两块钱""",
    "digit by digit": """
        400-8208820热线 四零零八二零八八二零热线
        911事件 九一一事件
        身高1米75 身高一米七五
        打13800138000 打一三八零零一三八零零零
        电话010-62345678 电话零一零六二三四五六七八
        0755-8234567找我 零七五五八二三四五六七找我
        138-0013-8000找我 一三八零零一三八零零零找我
        400-820-8820热线 四零零八二零八八二零热线
        电话：62345678 电话：六二三四五六七八
        拨打12306 拨打一二三零六
        快打110 快打一一零
        房间302 房间三零二
        302室 三零二室
        302房间 三零二房间
        302路 三零二路
        15路 十五路
        特工007 特工零零七
        邮编100080 邮编一零零零八零
        G1234次 G一二三四次
        1080P的 一零八零P的
        192.168.1.1是 一九二点一六八点一点一是
        验证码是4821 验证码是四八二一
        12306人 一万两千三百零六人""",
    "ordinals": """
        第3届 第三届
        第2个 第二个
        第12名 第十二名
        2楼 二楼
        第302号 第三百零二号""",
    "fractions": """
        3/4的人 四分之三的人
        1/2的人 二分之一的人
        1又1/2杯 一又二分之一杯
        0/0吗 零/零吗
        1/2/3班 一/二/三班""",
    "negative, units": """
        歼-20飞机 歼-二十飞机
        -5℃的天 零下五摄氏度的天
        今天-5℃ 今天零下五摄氏度
        −3度 负三度
        气温-5~3℃ 气温零下五到三摄氏度
        3kg重 三公斤重
        3 kg重 三公斤重
        2km外 两公里外
        100km/h的车 一百公里每小时的车
        100公里/小时 一百公里每小时
        50m²的房 五十平方米的房
        50㎡的房 五十平方米的房
        5cm长 五厘米长""",
    "ranges, scores": """
        主队2-1 主队二比一
        和0-0 和零比零
        +86-13800138000吗 +八十六-一三八零零一三八零零零吗
        3-5天 三到五天
        3~5天 三到五天
        3～5天 三到五天
        1-2个 一到两个
        3天-5天 三天到五天
        第3-5章 第三到五章
        1.5-2倍 一点五到两倍
        比分3:2 比分三比二
        比分10:10 比分十比十
        以3-2战胜 以三比二战胜
        10:0赢 十比零赢
        16:9的屏 十六比九的屏
        1:100稀释 一比一百稀释
        3-502室 三-五零二室
        1+1=2吗 一加一等于二吗
        5-3=2吗 五减三等于二吗
        3×4=12吗 三乘四等于十二吗""",
    "两": """
        2个人 两个人
        2天 两天
        2位 两位
        2月 二月
        2个月 两个月
        12个 十二个
        2000人 两千人
        200人 二百人""",
    "Latin": """
        5G手机 五G手机
        A4纸 A四纸
        iPhone15好 iPhone十五好
        新冠COVID-19 新冠COVID-十九
        16GB内存 十六GB内存
        3D电影 三D电影""",
    "as they are": """
        十分方便 十分方便
        万一下雨 万一下雨
        第Ⅷ章² 第Ⅷ章²
        ٣个 ٣个
        room302 room302
        3.5%off 3.5%off""",
}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        pytest.param(*line.rsplit(" ", 1), id=line)
        for kind in CASES.values()
        for line in map(str.strip, kind.strip().splitlines())
    ],
)
def test_digits_are_read_as_they_are_said(written: str, said: str) -> None:
    assert spoken_form(written) == said


def test_spaces_and_sentences_are_kept() -> None:
    assert spoken_form("2026 年 11 月，共 2 个。\n") == "二零二六 年 十一 月，共 两 个。\n"
    assert spoken_form("2025-11-26 13:15 出发") == "二零二五年十一月二十六日 十三点十五分 出发"
    assert spoken_form("Windows 10系统") == "Windows 十系统"
    assert spoken_form("") == ""


def test_a_text_of_digits_is_of_the_language_of_the_one_beside_it() -> None:
    assert spoken_form("30.5%") == "30.5%"
    assert spoken_form("30.5%", "百分之三十") == "百分之三十点五"
    assert spoken_form("at 30.5%", "thirty point five") == "at 30.5%"


#: Said in several ways.
SAME = """
    2个 两个 二个
    2000年 二零零零年 两千年 二〇〇〇年 二○○○年
    2000人 两千人 二千人
    200人 二百人 两百人
    110人 一百一十人
    ￥110的 一百一十元的
    花了110 花了一一零
    2:30见 两点半见 两点三十分见 两点三十见 二点三十见
    9:15见 九点一刻见 九点十五见 九点十五分见 九时十五分见
    8:00见 八点见 八点整见 八点钟见
    -5℃的 零下五度的 负五度的 零下五摄氏度的
    3kg的 三公斤的 三千克的
    3km的 三公里的 三千米的
    100km/h的 一百公里每小时的 每小时一百公里的
    100%的 百分之百的 百分之一百的
    -5%的 负百分之五的 百分之负五的
    3-5%的 百分之三到五的 百分之三到百分之五的 百分之三至五的
    3-5天 三到五天 三至五天
    11月26号 十一月二十六日 十一月二十六号
    电话10086 电话一零零八六 电话幺零零八六 电话幺〇〇八六
    1万5的 一万五的 一万五千的
    1500的 一千五的 一千五百的
    100500人 十万零五百人 十万五百人
    3×4吗 三乘四吗 三乘以四吗
    111,个 一百一十一个 一百十一个
"""


@pytest.mark.parametrize("line", [line.strip() for line in SAME.strip().splitlines()])
def test_any_right_reading_is_no_error(line: str) -> None:
    written, *readings = line.split()
    assert {normalise(each, SPOKEN) for each in readings} == {normalise(written, SPOKEN)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2个", "三个"),
        ("302室", "三二零室"),
        ("两岸", "二岸"),
        ("3.005吨", "三点五吨"),
        ("三点零五", "三点五"),
        ("一百零一", "一百一"),
        ("幺妹", "一妹"),
        ("13:15吧", "十三点五十分吧"),
    ],
)
def test_other_numbers_stay_errors(one: str, other: str) -> None:
    assert normalise(one, SPOKEN) != normalise(other, SPOKEN)


def test_punctuation_goes_after_digits_are_read() -> None:
    assert normalise("13:15，1,234人，30.5%。", SPOKEN) == "十三点十五一千二百三十四人百分之三十点五"
    assert normalise("一百一，十个人。", SPOKEN) == normalise("一百一十个人", SPOKEN)
    assert normalise("共 2 个", SPOKEN) == normalise("共二个", SPOKEN)


def test_phrases_with_digits_are_found() -> None:
    scores = PhraseScores(phrases_in("2个\n30.5%的\n".encode()), SPOKEN)
    spaced = Normalisation(digits="spoken", spaces=False)
    scores.add(normalise("共 2 个，30.5%的", spaced), normalise("共两个百分之三十点五的", spaced))
    rates = scores.rates(10, 0)
    assert (rates.in_references, rates.hits, rates.false_alarms) == (2, 2, 0)


def parsed(said: str) -> int:
    """The number of which a quantity is the reading, found another way: from left to right, by its units."""
    total = section = digit = 0
    for char in said.replace("两", "二"):
        if char in "零一二三四五六七八九":
            digit = "零一二三四五六七八九".index(char)
        elif char in "十百千":
            section += (digit or 1) * 10 ** ("十百千".index(char) + 1)
            digit = 0
        elif char == "万":
            total, section, digit = total + (section + digit) * 10**4, 0, 0
        else:
            total, section, digit = (total + section + digit) * 10**8, 0, 0
    return total + section + digit


@given(
    st.one_of(
        st.integers(0, 10**9),
        st.integers(0, 10**16 - 1),
        st.builds(lambda a, b: a * 10**b, st.integers(0, 10_001), st.integers(0, 11)),
    )
)
def test_a_quantity_is_the_number(number: int) -> None:
    said = quantity(str(number))
    assert parsed(said) == number
    assert "零零" not in said
    assert said == "零" or not said.endswith("零")


ALPHABET = st.sampled_from([*"0123456789年月日号点分时%,.:/-~¥￥１２：．个米第℃kgmh²ⅧA ٣一二两万亿零〇幺=+○\ud800後é"])
TEXTS = st.one_of(st.text(ALPHABET, max_size=20), st.text(max_size=20))


@settings(max_examples=500, deadline=None)
@given(TEXTS, TEXTS)
def test_any_text_is_read(text: str, beside: str) -> None:
    said = spoken_form(text, beside)
    assert bool(said) == bool(text)
    assert spoken_form(said, beside) == said
    if re.search("[\u4e00-\u9fff]", text):
        assert not re.search("[0-9０-９]", said)
    if not re.search("[0-9０-９]", text):
        assert said == text
    normalise(text, SPOKEN, beside)


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["，", "好", "的 ", "。\n", "ok ", "é", "²", "？！"]), st.integers(0, 10**7).map(str)
        ),
        max_size=9,
    )
)
def test_what_is_no_number_stays(parts: list[str]) -> None:
    text = "话" + "".join(parts)
    said = spoken_form(text)
    for each in re.findall("[^0-9]+", text):
        assert each in said


HOSTILE = (
    "1 1: 1, 1,234, 1. 1- 1/ 1~ 1+ % 1% ¥ ¥1 -1 第1 1年 1月- 99年 13:15- 2025-11-26- 1m/ A1 一百 十 两 幺 ○ 一○ 每小时"
    " 一点半 千三"
).split()


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_the_length(unit: str) -> None:
    """Quadratic time would be seen: this takes parts of a second, and would take hours."""
    text = "年" + unit * (200_000 // len(unit))
    said = spoken_form(text)
    assert alike(said)
    assert not re.search("[0-9]", said)


#: How an archive writes what is said in the demo.
WRITTEN = {
    "晚上五点半开始": "晚上5:30开始。",
    "百分之八百三十五": "835%",
    "八十三箱": "８３箱",
    "十一个": "11 个",
    "五万八千二百零七元": "￥58,207，",
    "二千零八十八元": "2,088元",
    "百分之八十七": "87%",
    "百分之三百五十四": "３５４％",
    "九点五十分": "9点50分",
}


@pytest.mark.usefixtures("ray_two_cpus")
def test_written_references_are_compared_as_said(job: Any, speech: Any, tmp_path: Path) -> None:
    folder, lines = tmp_path / "in", {"said": list[str](), "written": list[str]()}
    folder.mkdir()
    found = set[str]()
    for number, (samples, said) in enumerate(speech):
        written = said
        for each, form in WRITTEN.items():
            found |= {each} if each in said else set()
            written = written.replace(each, form)
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        for kind, text in (("said", said), ("written", written)):
            entry = {"audio_filepath": f"{number}.wav", "duration": len(samples) / 16_000, "text": text}
            lines[kind].append(json.dumps(entry, ensure_ascii=False) + "\n")
    assert found == WRITTEN.keys()
    rates = dict[tuple[str, str], Any]()
    for kind, entries in lines.items():
        (folder / f"{kind}.jsonl").write_text("".join(entries))
        out = f"output.uri={tmp_path / kind}"
        assert job(f"input.uri={folder / kind}.jsonl", out)[0] == 0
        for digits in ("keep", "spoken"):
            write = f"evaluate.write={tmp_path / kind}-{digits}.parquet"
            status, rates[kind, digits], seen = job(out, f"evaluate.digits={digits}", write, main=evaluate.main)
            assert (status, rates[kind, digits]["normalisation"]["digits"]) == (0, digits)
            assert ("digits were read aloud" in seen) == (digits == "spoken")
    errors = {
        key: sum(each["all"]["characters"][name] for name in ("substitutions", "deletions", "insertions"))
        for key, each in rates.items()
    }
    assert errors["said", "keep"] == errors["said", "spoken"] == errors["written", "spoken"] == 0
    assert errors["written", "keep"] > 30
    rows = pq.read_table(tmp_path / "written-spoken.parquet").to_pylist()
    assert [row["character_errors"] for row in rows] == [0] * len(speech)
    assert not any(re.search("[0-9]", row["reference"]) for row in rows)
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("835%\n2,088元\n")
    out, listed = f"output.uri={tmp_path / 'written'}", f"evaluate.phrases={phrases}"
    assert job(out, listed, "evaluate.digits=spoken", main=evaluate.main)[1]["phrases"]["hits"] == 2
    assert job(out, listed, main=evaluate.main)[1]["phrases"]["hits"] == 0
