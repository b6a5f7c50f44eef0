"""Whether a remark says that the platform does not know the order.

Platforms word this in many ways, so a remark is searched for two parts: what is not found, and that it is not found. A
remark without them is the reason of a real failure. An ambiguous remark counts as a denial: the platform is asked again
about a denied order, while a failed order is refunded.
"""

import re
import unicodedata

# The characters of these patterns that platforms also write otherwise. Codes join their words by _ or -.
_PLAIN = str.maketrans(
    "無訂單號錄沒査記紀纪錯誤詢檢尋條筆編數據結該這對應關戶帳賬碼機電話產證餘額歸屬權請創庫丟’_-",
    "无订单号录没查记记记错误询检寻条笔编数据结该这对应关户账账码机电话产证余额归属权请创库丢'  ",
)
# What is not found: an order, by whatever name. 名单, 清单, 单位 and the like are no orders.
_SLIP = "订?(?<![名菜清简])单(?![位月日])"
_ORDER = (
    rf"(?:{_SLIP}|笔充值|请求 ?(?:号|id)|(?:记录|流水|交易)(?!权|密码)|数据(?!套餐|流量|包|业务)|查?询?结果"
    r"|order|record|transaction|request ?id)"
)
# Other things that are not found when a recharge fails: a number or who has it, and what is recharged or how.
_NUMBER = (
    r"(?:(?<!单)号码|号段|手机|电话|用户|客户|会员|账[户号]|运营商"
    r"|(?<!order )(?<!record )number|phone|mobile|msisdn|subscriber|user|customer|account)"
)
_PRODUCT = (
    r"(?:渠道|通道|套餐|产品|商品|面[值额]|余额|归属|流量包|接口|供应商|货源|库存|权限"
    rf"|channel|route|product|package|plan|stock)(?!的?{_ORDER})"
)
_FIND = "(?:查询|查找|查|寻找|找|搜索|搜|检索|匹配)"
# That something is not found.
_NOT_FOUND = (
    rf"(?:(?:未能?|没有?能?|无法){_FIND}[到得出见着]|(?:未能?|没有?能?)发现|{_FIND}不[到出着]|{_FIND}无(?![法需效])"
    r"|n[o']t ?(?:be ?)?(?:found|located)|no ?such"
    r"|(?:can ?not|can't|could ?not|couldn't|did ?not|didn't|unable to) ?(?:find|locate))"
)
_NOT_THERE = r"(?:不存在|不在(?:本|该|我们?)?(?:系统|平台)|n[o']t ?exist)"
_NONE = r"(?:无|没有?|不存在|(?:未|没有?)接?收到|(?<![a-z])(?:no|unknown) ?)"
_THIS = r"(?:此|该|这|对应|相[关应])"
_WHICH = rf"(?:{_THIS}|任何|匹配|符合|满足|条件|有效|的|充值|历史|[一1]?[条笔个张]|matching |corresponding |such )"
# An order's id, and that it is wrong.
_ORDER_ID = rf"(?:{_SLIP}编?号码?|流水号|(?:订单|请求) ?(?:号|id)|(?:order|request) ?(?:id|n(?:umber|o)(?![a-z])))"
_DIGITS = r"[^a-z\u3400-\u9fff]{0,80}"
_INVALID = r"(?:(?:is )?(?:invalid|wrong|incorrect) ?|无效|非法|未知)"
_TAKE_IN = "(?:受理|入库|创建|生成)"
_NOT_YET = "[尚还暂并]"
# Another reason after these words: the order exists, and something about it is wrong.
_REASON = (
    rf"(?:充值)?(?:{_NUMBER}|{_PRODUCT}|金额|价格|数量|状态|类型|时间|参数|来源|原因|错误|异常|操作|成功|停机|空号|维护"
    r"|卡(?![单在住])|地[市区]|amount|quantity|balance|price|value|denomination|type|status|parameter|card|pin|sim"
    r"|fail|reject|cancel|declin)"
)
_NO_REASON = rf"(?!(?:\W|[的其该此]|无效|wrong|invalid|incorrect|insufficient|the )*{_REASON})"
# The last character of another thing's name before these words: "number invalid, order failed", without the comma.
_NAME_END = "[码号密段机户员商道游餐品值额份属地型态数因务名求]"
_NO_OTHER = f"(?<!{_NAME_END})(?<!{_NAME_END}{_NOT_YET})"
_OF_SOMETHING = re.compile(rf"{_NOT_FOUND}|{_NOT_THERE}|(?:无|没有?){_THIS}")
_OF_AN_ORDER = re.compile(
    # "not found: the order"; "no such order"; "the order is not found"; "wrong order number".
    rf"{_NOT_FOUND}(?:(?!{_PRODUCT})[^，,。；;！!]){{0,20}}?{_ORDER}(?!.{{0,4}}{_PRODUCT})"
    rf"|{_NONE}(?:(?<!不存在)|(?={_THIS})){_WHICH}*{_ORDER}"
    rf"|{_ORDER}(?:(?!{_NUMBER}|{_PRODUCT})[^。；;！!]){{0,80}}?"
    rf"(?:{_NOT_THERE}|{_NOT_FOUND}(?!.{{0,6}}(?:{_NUMBER}|{_PRODUCT})))"
    rf"|{_NOT_FOUND}(?:相关|任何)?信息|(?:查询|结果|数据|记录|订单)为空(?!号)|{_FIND}{_WHICH}*{_SLIP}\W*无(?!\w)"
    rf"|{_ORDER_ID}(?:错误|有误|不正确|不对|{_DIGITS}{_INVALID}(?! ?的?{_REASON}))"
    # "invalid order" and "order invalid"; "the order was lost", or "not taken in".
    rf"|{_NO_OTHER}{_INVALID}{_WHICH}*(?:{_ORDER_ID}|(?:订单|order){_NO_REASON})|(?:订单|order ?){_INVALID}{_NO_REASON}"
    rf"|订单(?:(?:信息|数据|记录|已)*丢失|{_NOT_YET}?未{_TAKE_IN}){_NO_REASON}"
    rf"|{_NO_OTHER}(?:未|没有?){_TAKE_IN}过?{_WHICH}*{_SLIP}{_NO_REASON}"
    r"|(?:no ?data|nothing) ?found|order (?:is )?(?:unknown|missing)|order.{0,9}not in (?:our|the|this) system"
    rf"|(?:no ?such request|request ?(?:(?:is|was|does|can|could) ?)?(?:{_NOT_THERE}|{_NOT_FOUND})){_NO_REASON}"
)


def denies_order(remark: str, *, shows_number: bool) -> bool:
    """Whether a remark says that there is no such order.

    Beside the order's own number (`shows_number`) the remark must name the order: `手机号码不存在` and `无此套餐` are
    then real failures.
    """
    patterns = (_OF_AN_ORDER,) if shows_number else (_OF_AN_ORDER, _OF_SOMETHING)
    return any(pattern.search(form) for form in _plain_forms(remark) for pattern in patterns)


def _plain_forms(remark: str) -> list[str]:
    """A remark as it is searched for words. One that holds Chinese also without blanks and invisible characters; with
    its blanks too, as it may hold English words besides."""
    words = " ".join(unicodedata.normalize("NFKC", remark).casefold().translate(_PLAIN).split())
    if not any("\u3400" <= character <= "\u9fff" for character in words):
        return [words]
    seen = (character for character in words if not character.isspace() and unicodedata.category(character) != "Cf")
    return [words, "".join(seen)]
