"""Whether a remark says that the platform does not know the order.

Platforms word this in many ways, so a remark is searched for two parts: what is not found, and that it is not found. A
remark without them is the reason of a real failure. An ambiguous remark counts as a denial: the platform is asked again
about a denied order, while a failed order is refunded.
"""

import re
import unicodedata

# The characters of these patterns that platforms also write otherwise. Codes join their words by _ or -.
_PLAIN = str.maketrans(
    "無訂單號錄沒査記紀纪錯誤詢檢尋條筆編數據結該這對應關戶帳賬碼機電話產證餘額歸屬權’_-",
    "无订单号录没查记记记错误询检寻条笔编数据结该这对应关户账账码机电话产证余额归属权'  ",
)
# What is not found: an order, by whatever name. 名单, 清单, 单位 and the like are no orders.
_ORDER = (
    r"(?:订?(?<![名菜清简])单(?![位月日])|笔充值|请求号|(?:记录|流水|交易)(?!权|密码)|数据(?!套餐|流量|包|业务)|查?询?结果"
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
_OF_SOMETHING = re.compile(rf"{_NOT_FOUND}|{_NOT_THERE}|(?:无|没有?){_THIS}")
_OF_AN_ORDER = re.compile(
    # "not found: the order"; "no such order"; "the order is not found"; "wrong order number".
    rf"{_NOT_FOUND}(?:(?!{_PRODUCT})[^，,。；;！!]){{0,20}}?{_ORDER}(?!.{{0,4}}{_PRODUCT})"
    rf"|{_NONE}(?:(?<!不存在)|(?={_THIS})){_WHICH}*{_ORDER}"
    rf"|{_ORDER}(?:(?!{_NUMBER}|{_PRODUCT})[^。；;！!]){{0,80}}?"
    rf"(?:{_NOT_THERE}|{_NOT_FOUND}(?!.{{0,6}}(?:{_NUMBER}|{_PRODUCT})))"
    rf"|{_NOT_FOUND}(?:相关|任何)?信息|(?:查询|结果|数据|记录)为空"
    r"|单编?号码?(?:错误|有误|不正确|不对)"
    r"|(?:no ?data|nothing) ?found|order (?:is )?(?:unknown|missing)|order.{0,9}not in (?:our|the|this) system"
    r"|(?:invalid|wrong|incorrect) ?(?:order|request) ?(?:id|n(?:umber|o)(?![a-z]))"
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
