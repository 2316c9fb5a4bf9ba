"""The words by which a Mandarin numeral is known to be a number, and those in which it is none."""

import re

#: Measures before which a single digit is written as one. 一 stays: 一公里 may be any.
MEASURES = (
    "公里 千米 厘米 毫米 微米 纳米 分米 英里 英尺 英寸 海里 平方 平米 立方 公顷 公斤 千克 毫克 微克 公升 毫升 公分 "
    "千瓦 兆瓦 毫安 伏特 赫兹 兆赫 摄氏 华氏 分钟 小时 秒钟 美元 美金 欧元 日元 港元 港币 英镑 韩元 卢布 "
    "个百分点 号线 号楼 号院 号门 号馆 号厅 号机 号店 号房 号桌 号车厢 号库 号窗 号仓 单元 元钱 块钱 毛钱 角钱 分钱 "
    "线程 比特 字节 兆 吨 秒 楼"
)
#: What may follow a number of two digits or more; anything else leaves 十, 十三 and 三十 as they are.
COUNTED = (
    "个人名位只条张次天年月日号周岁点分秒块元米里斤公家间层楼种件本部台辆套座栋幢首篇页章节集期届场回遍句字行排列项道门级"
    "级度克吨升厘毫微平立英海千万亿倍折环区路班站所支枝颗粒朵棵头匹口桶瓶杯碗盒包袋箱吋寸尺丈亩顷毛角美欧日港两多余分比"
    "小时刻课队组批份封幅片双对户副瓦伏安赫兆K码轮世代线室届艘架顿股票款样步成档发枚根把盏桌席箱株卷"
)
_SMALL_MEASURE = "|".join(sorted(MEASURES.split(), key=len, reverse=True))
#: What follows a single digit that is a number.
MEASURED = re.compile(f"(?:{_SMALL_MEASURE}|米(?![饭粥粉线汤老其])|克(?![里兰服制隆拉勒鲁罗伊林]))(?![一-鿿]?[族])")
#: What follows 一 that is its beginning, so that the numeral before it ends there: 百分之十 一直.
WORDS_WITH_ONE = "直样定起般些切旦律边并再贯概致"
#: One of these after 百一, 万一 and the like is a price for one: 二十万 一张.
ONE_OF = "个张只套平斤辆台部年月天次人晚夜间瓶杯碗盒份件条块顿桌本双位节"
#: A numeral after one of these is no number: 几十, 初一, 老三; 正负 is no minus.
VAGUE = frozenset("几数初老")
NOT_MINUS = frozenset("胜担自抱欺辜正背肩")
LABELS = frozenset("号码间室房话拨座栋数编")
PARTS_OF_DAY = frozenset(
    "上午 下午 早上 晚上 凌晨 中午 傍晚 夜里 半夜 清晨 早晨 今晚 明早 晚间 午后 深夜 今早 明晚 昨晚 当晚 午夜 夜晚 每晚 "
    "每早 清早".split()
)
#: Before 一点 and a numeral: a bit, or one thing.
BEFORE_A_BIT = frozenset("有这那第好快慢早晚大小多少高低差近远了重轻强弱贵便宜")
#: Digits that are counted, or name days, and are no code.
SEQUENCES = frozenset("一三五 二四六 三二一 一二一 九一八 一二九 一三五七九 二四六八 一一二 一二二".split())
#: Numerals of sayings, titles and festivals, as they begin where the numeral does.
SAYINGS = re.compile(
    "一千零一夜|三十而立|四十不惑|五十而知|五十知天|六十耳顺|六十而耳|七十古来|七十而|一万年太久|十一(?:黄金|放假|长假|期间|假期|国庆|出游|去)"
    "|七十二(?:变|家房客|行|贤)|三十六(?:计|策)|一百零八(?:将|好汉|条好汉)|二十四(?:节气|孝|史|番)|二十五史|十二(?:生肖|星座|星宫|时辰|金钗|指肠)|二十八(?:宿|星宿)"
    "|十三(?:经|陵|妹|姨|幺|太保|香|邀|钗|阿哥|爷|五)|十四(?:阿哥|爷|五|行诗)|十五五|十二五|十一五|十八(?:般|罗汉|层地狱|相送|掌|摸|大(?![家多小型]))"
    "|十九大(?![家多小型])|二十大(?![家多小型])|十七大(?![家多小型])|十六大(?![家多小型])|十面埋伏|十年(?:树木|寒窗|磨|生死|一剑|河)|十月(?:怀胎|革命|围城)"
    "|十里(?:洋场|长街|长亭|桃花|不同)|十万(?:火急|八千里|个为什么)|三千(?:弱水|宠爱|佳丽|烦恼|青丝|丈|世界|大千|越甲|粉黛|尺)|八百(?:里(?:加急|秦川|洞庭)|罗汉|标兵)"
    "|二百五(?![十百千万])|五十步笑|九十九道弯|八千里路|四十二章经|六十四卦|六十甲子|三百六十行|百分之百"
    "|四十(?:不惑|大盗)|一千个哈姆|五百罗汉|十字|十二分(?![钟之])|十三点(?![零一二三四五半整钟])|一百二十分(?=[的地])|十一(?![个人名位只条张次天年月日号周岁点分秒块元米里斤公家间层楼种件本部台辆页章节集期届场级度倍路班])"
)
