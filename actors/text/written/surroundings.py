"""What stands around written numbers in Mandarin, and tells how they are said. Expressions are for a few characters
before or after a number, so their cost is bounded."""

import re

HAN = re.compile("[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
#: Other forms of what numbers are written with, each one character as well, so that places stay the same.
AS_ASCII = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1B), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
AS_ASCII |= str.maketrans("％＄＋－．／＝～〜−–—∶￥", "%$+-./=~~---:¥")
RUN = re.compile("[0-9]+(?:[.,:/~-][0-9]+)*")

#: A number with one of them after it is a quantity; 2 before one of the first is 两.
TWO = (
    "个|只|位|名|人|条|张|次|天|周(?!年)|岁|点|分(?!之)|秒|块|元|米|里|斤|间|层|种|件|本|套|台|辆|架|艘|头|匹|棵|朵|片|对|把"
    "|家|座|份|首|句|回|遍|趟|场|倍|篇|组|队|步|口|杯|瓶|碗|袋|箱|包|盒|支|枝|根|颗|粒|滴|幅|项|年(?!级)|批|类|款|股|道|门|节"
    "|则|起|笔|轮|吨|升|克|度|者|边|侧|岸|国|半|小时|公[里斤分]|千[米克瓦]|[厘毫分]米|毫[克升]|平方|平米|立方|美元|欧元"
    "|英镑|摄氏|百万|千|万|亿|刻钟|角|毛"
)
AFTER_TWO = re.compile(TWO)
MEASURE = re.compile(
    f"{TWO}|百|多|余|来|几|票|户|亩|届|期|章|页|集|级|股|瓦|伏|赫|米|顿|名|月|日|岁|字|车|线|折|成|代|排|列|发"
)
#: Numbers of three digits and more that are said digit by digit.
CALLED = re.compile(
    "(?:电话|手机|号码|拨打?|打|热线|编号|[账帐卡房单尾学工证序]号|密码|验证码|邮编|邮政编码|QQ|qq|微信|客服|代码|报警"
    "|房间|教室|办公室|航班|车次|门牌|分机|股票|编码)(?:了|是|为|：|:|,|，|叫|\\s|号|=){0,3}$"
)
ROOM = re.compile(
    "号?(?:室|房|教室|寝室|宿舍|会议室|包间|病房|中学|医院|国道|高地|次列车|次航班|航班|路|厂|研究所|专线|事件|p\\b|P\\b)"
)
EMERGENCY = frozenset({"110", "119", "120", "122"})  # where nothing is counted
OF_YEAR = re.compile("年度|[届级款版]|回归|世界|赛季|学年")  # after 19.. and 20.., which are years then
SAID_AGAIN = re.compile("分(?![手别开享析组类])|日(?![本语军元方常])")  # after 13:15, 2025-11-26, which end so
TYPES = ("歼", "轰", "运", "直", "苏", "米格", "东风", "红旗", "神舟", "长征", "嫦娥")  # before a dash that is no minus
LATIN_BEFORE = re.compile("[A-Za-z][-_ ]?$")
LASTS = re.compile(
    "(?:近|约|过|达|有|超|每|历时|花|用|活|持续|经历|上下|前后|整整)了?$"
)  # before years that are counted
LASTED = re.compile("年(?:历史|之久|寿命|的历史|的岁月|来|多|间|代|期|以[上下内])")
SCORE = re.compile("(?:比[分例率]|战平|战胜|击败|大胜|险胜|逆转|领先|落后|总分|以)[^。，,.;；!！?？]{0,4}$")
SCORED = re.compile(
    " ?(?:的?比[分例]|的优势|战胜|击败|大胜|险胜|获胜|取胜|领先|落后|战平|逆转|不敌|输给|力克|完胜|稀释|配比|平$|胜)"
)

MONEY = re.compile(r"(US\$|[¥$€£]) ?$")
MONEY_NAMES = {"¥": "元", "$": "美元", "US$": "美元", "€": "欧元", "£": "英镑"}
MULTIPLE = re.compile(" ?([百千万亿]{1,2})")
HAS_MONEY = re.compile(" ?(?:元|块|美元|欧元|英镑|美金|人民币)")
SHARES = {"%": "百分之", "‰": "千分之"}
UNITS = {
    "km/h": "公里每小时",
    "m/s": "米每秒",
    "kWh": "千瓦时",
    "km²": "平方公里",
    "km2": "平方公里",
    "cm²": "平方厘米",
    "m²": "平方米",
    "m2": "平方米",
    "m³": "立方米",
    "m3": "立方米",
    "km": "公里",
    "cm": "厘米",
    "mm": "毫米",
    "kg": "公斤",
    "mg": "毫克",
    "ml": "毫升",
    "kW": "千瓦",
    "kHz": "千赫兹",
    "MHz": "兆赫兹",
    "Hz": "赫兹",
    "min": "分钟",
    "ms": "毫秒",
    "m": "米",
    "g": "克",
    "t": "吨",
    "L": "升",
    "h": "小时",
    "s": "秒",
    "V": "伏",
    "W": "瓦",
    "℃": "摄氏度",
    "°C": "摄氏度",
    "℉": "华氏度",
    "°F": "华氏度",
    "°": "度",
    "㎡": "平方米",
    "㎏": "公斤",
    "㎞": "公里",
    "㎝": "厘米",
    "㎜": "毫米",
    "KG": "公斤",
    "Kg": "公斤",
    "KM": "公里",
    "mL": "毫升",
}
UNIT = re.compile(f" ?({'|'.join(map(re.escape, UNITS))})(?![A-Za-z0-9])")
_PER = "小时|分钟|分|秒|天|日|月|年|斤|公斤|千克|平方米|平米|吨|升|人|次|个|h|kg|s|min|m²|㎡"
PER = re.compile(f"([万亿]?(?:公里|千米|米|元|美元|次|度|吨|升|毫克|克|人|个)?)/({_PER})(?![A-Za-z])")
#: What may stand between two numbers and the dash that makes them a range: a measure of the first.
OF_RANGE = re.compile(" ?[\u4e00-\u9fff]{0,2} ?")
