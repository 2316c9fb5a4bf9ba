"""The words by which a Mandarin numeral is known to be a number, and those in which it is none."""

import re

#: Measures before which a single digit is written as one. 一 stays: 一公里 may be any.
_MEASURES = (
    "公里 千米 厘米 毫米 微米 纳米 分米 英里 英尺 英寸 海里 平方 平米 立方 公顷 公斤 千克 毫克 微克 公升 毫升 公分 "
    "千瓦 兆瓦 毫安 伏特 赫兹 兆赫 摄氏 华氏 分钟(?![情爱意]) 小时 秒钟 美元 美金 欧元 日元 港元 港币 英镑 韩元 卢布 "
    "个百分点 号线 号楼 号院 号门 号馆 号厅 号机 号房 号桌 号车厢 号库 号窗 单元 元钱 块钱 毛钱 角钱 分钱 "
    "线程 比特 字节 米(?![饭粥粉线汤老其]) 克(?![里兰服制隆拉勒鲁罗伊林]) 兆 吨 秒 楼(?!层)"
)
MEASURED = re.compile("|".join(_MEASURES.split()))
MEASURED_TEN = re.compile(f"{MEASURED.pattern}|[块元]|号|倍|岁|乘")
#: The characters with which measures begin, for a first look; 个 is too frequent.
MEASURE_STARTS = "时公千厘毫微纳分英海平立伏赫摄华小秒美欧日港韩卢单元块毛角线比字米克兆吨楼号"
#: Of what stands in lines, one above or behind the other: 第三行 is 第3行, unless it is 第三行星.
NUMBERED = re.compile("(?:行(?![动星业者为政])|层(?![意含面原])|排(?!名)|[页列])")
#: What may follow a number below 100 that does not show by its form that it is one, as 十三 and 三十 do not.
COUNTED = frozenset(
    "个人名位只条张次天年月日号周岁点分秒块元米里斤公家间层楼种件本部台辆套座栋幢首篇页章节集期届场回遍句字行排列项道门级度"
    "克吨升厘毫微平立英海千万亿倍折环区路班站所支枝颗粒朵棵头匹口桶瓶杯碗盒包袋箱吋寸尺丈亩顷毛角美欧日港多余比小时刻课队组批"
    "份封幅片双对户副瓦伏安赫兆轮世代线室艘架顿股票款样步成档把盏桌席株卷声笔起例摄华载强"
)
#: A number below 100 after one of these is one.
COUNTING = frozenset("第共是到有至约近于满负加减乘除比才仅")
#: What follows 一 where that begins a word, so that the numeral before it ends there: 百分之十 一直.
WORDS_WITH_ONE = frozenset("直样定起般些切旦律边并再贯概致")
#: Before one of these 一 is a price's one: 二十万 一张.
ONE_OF = frozenset("个张只套平斤辆台部年月天次人晚夜间瓶杯碗盒份件条顿桌本双位节")
#: A numeral after one of these is no number: 初一, 老三, 双十二; nor is 十 or 百 after one of those: 几十, 数百.
NAMES = frozenset("初老双")
VAGUE = frozenset("几数")
NAMED = frozenset(["路易"])
#: 负 after one of these is no minus: 胜负, 正负.
NOT_MINUS = frozenset("胜担自抱欺辜正背肩")
#: Digits after one of these are a code, whatever they are.
LABELS = frozenset("号码间室房话拨座栋编")
PARTS_OF_DAY = frozenset(
    "上午 下午 早上 晚上 凌晨 中午 傍晚 夜里 半夜 清晨 早晨 今晚 明早 晚间 午后 深夜 今早 明晚 昨晚 当晚 午夜 夜晚 "
    "每晚 每早 清早".split(" ")
)
#: Before 一点 and a numeral: a bit, or one thing.
BEFORE_A_BIT = frozenset("有这那第好快慢早晚大小多少高低差近远了重轻强弱贵宜")
#: After a digit, 点 and a digit: a quantity for certain.
QUANTITY = frozenset("万亿倍米元公千厘毫斤克吨升度平折寸英美")
#: Digits that are counted, or name days, and are no code; so are those that go up or down by one, and pairs (七七八八).
SEQUENCES = frozenset(
    "一三五 二四六 一二一 九一八 一二九 一三五七九 二四六八 一一二 一二二 三六九 一四七 二五八 七零八".split(" ")
)
HISTORY = frozenset(["事变", "运动", "惨案", "起义", "事件", "政变", "指示"])
UP, DOWN = "零一二三四五六七八九", "九八七六五四三二一零"
#: Sayings, titles and festivals, as they begin with a numeral.
SAYINGS = re.compile(
    "一千零一夜|三十而立|四十(?:不惑|大盗)|五十(?:而知|知天|步笑)|六十(?:耳顺|而耳|甲子)|七十(?:古来|而)|一万年太久"
    "|十一(?![个人名位只条张次天年月日号周岁点分秒块元米里斤公间层楼种件本部台辆页章节集届场级度倍路班])"
    "|七十二(?:变|家房客|行|贤)|三十六(?:计|策)|一百零八(?:将|好汉)|一百单八|二十四(?:节气|孝|史|番)|二十五史|二十八宿"
    "|十二(?:生肖|星座|星宫|时辰|金钗|指肠|五|分(?![钟之]))|十[一三四五]五(?!十|百)|十三(?:经|陵|妹|姨|幺|太保|香|邀|钗|阿哥|爷)"
    "|十四(?:阿哥|爷|行诗)|十八(?:般|罗汉|层地狱|相送|掌|摸)|(?:十[一二三四五六七八九]|二十)大(?![家多小型])|十面埋伏|十字"
    "|十年(?:树木|寒窗|磨|生死|一剑|河)|十月(?:怀胎|革命|围城)|十里(?:洋场|长街|长亭|桃花|不同)|十万(?:火急|八千里|个为什么)"
    "|三千(?:弱水|宠爱|佳丽|烦恼|青丝|丈|世界|大千|越甲|粉黛|尺)|八百(?:里(?:加急|秦川|洞庭)|罗汉)"
    "|二百五(?![十百千万])|八千里路|四十二章经|六十四卦|三百六十行|一百二十分(?=[的地])|五百罗汉|九十九道弯"
    "|一[百千万]个(?=不|放心|愿意|一[百千万]个)|三十年河[东西]|[二三四]十年如一日|五百年前是一家|[十二三四五六七八]十里[铺堡]"
    "|一万(?:能|事|物|恶|般|全)|一千(?:古|金|方百)|一百(?:姓|货|般|科|合)"
)
