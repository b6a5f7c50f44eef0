"""Remarks beside an agreeing number: which say that there is no such order, and which are reasons of real failures."""

from time import process_time

import pytest

from tests.unit.domain.builders import APP_ID, MASKED, make_order, make_report
from worker.domain.orders.verdicts import Effect, Verdict, judge
from worker.domain.records.orders import IdKind


def phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.split("|")]


DENIALS = phrases("""
查無紀錄 | 查無此筆紀錄 | 查无此纪录 | 没有该订单 | 无该订单 | 未查到该订单 | 查询不到该订单 | 找不到订单 |
未找到订单记录 | 记录不存在 | 该订单不存在 | 订单号不存在 | 订单号2016010000000219不存在 | 订单信息不存在 |
订单编号不存在 | 单号不存在 | 订单号码不存在 | 此订单在系统中不存在 | 该笔订单不存在 | 系统中不存在该订单 |
不存在此订单 | 未查询到此订单 | 未查询到订单信息 | 没有查到这笔订单 | 没查到订单 | 没找到该订单 | 未能找到订单 |
无法找到该订单 | 查不到该订单 | 查不到订单 | 搜索不到该订单 | 查询无此订单 | 查询无记录 | 没有此订单 |
没有这个订单 | 没有订单 | 没有记录 | 无记录 | 无订单信息 | 无此记录 | 无此流水 | 流水号不存在 | 交易不存在 |
交易记录不存在 | 查无此交易 | 无相关订单 | 没有相关记录 | 没有对应的订单 | 没有充值记录 | 订单未找到 |
订单没找到 | 订单号有误 | 订单号不正确 | 查无此单 | 無此訂單 | 訂單不存在 | 查詢不到該訂單 | 沒有該訂單 |
未查到數據 | 查无数据 | 查无结果 | 暂无该订单 | 该订单号查无记录 | 该订单查询不到 | 订单找不到 |
查无此号码的充值记录 | 找不到该手机号对应的订单 | 订单123，不存在 | 未收到该订单 | Order NOT FOUND |
order does not exist | no such order | Record not  found | ORDER_NOT_EXIST | ORDER_NOT_FOUND | OrderNotFound |
order doesn't exist | The order could not be found | cannot find order | can't find the order |
no record found | unknown order | no matching order | transaction not found | order id 2016 not found |
查询失败: order not found | No such record，请核对 | order-not-exist | 订 单 不 存 在 | 订单 2016 不存在 |
Couldn’t find this order | ｏｒｄｅｒ ｎｏｔ ｆｏｕｎｄ | order does  not exist (订单) |
The record was NOT FOUND | 没有该 订单 | 上游查无此单 | 您查询的订单不存在，请核实 | 未检索到该订单 |
无对应充值订单 | order could not be located |
订单编号错误 | 訂單編號有誤 | 订单号码有误 | 未发现该订单 | 没有发现该订单 | 查询结果为空 | 查询为空 | 未查到相关信息 |
未接收到此订单 | 无此笔充值 | 该笔充值不存在 | 该笔充值查不到 | 请求号不存在 | requestId不存在 | 没有满足条件的订单 |
No data found | Invalid order number | invalid order id | order unknown | order is missing | Unknown request id |
the order is not in our system | Nothing found for this order |
无效订单号 | 无效的订单号 | 无效订单编号 | 非法订单号 | 未知订单号 | 无效单号 | 无效流水号 | 无效的请求ID |
请求ID不存在 | 请求ID错误 | 請求號不存在 | 订单号无效 | 訂單號無效 | 订单号非法 | 订单号：2016010000000219无效 |
订单号码无效 | 订单号无效，手机号不匹配 | 流水号无效 | 无效订单 | 无效的订单，请核实 | 未知订单 | 订单无效 |
订单未知 | 非法订单 | 订单未受理 | 该订单尚未受理，请稍后再查 | 未受理该订单 | 尚未受理该订单 | 没有受理过此订单 |
未受理此单 |
订单未创建 | 订单未生成 | 未生成订单 | 订单丢失 | 订单已丢失 | 訂單丟失 | 订单信息丢失 | 订单尚未入库 | 訂單未入庫 |
查單無 | 查单：无 | 查询失败 无效订单 | 该单为无效订单 | 查该订单无 | 订单为空 | order id invalid |
Order number is invalid | order no. 2016 is invalid | invalid order | INVALID_ORDER | order is invalid |
Invalid order, please contact customer service | invalid request id | request id invalid | request not found |
The request was not found | request doesn't exist | RequestNotFound | no such request |
账单不存在 | 充值账单不存在 | 账单号不存在 | 未找到账单 | 話單不存在 | 账单号错误 | 该账单未找到，请稍后查询 |
订单未受理，卡单
""")
FAILURES = phrases("""
号码不存在 | 手机号码不存在 | 手机号不存在 | 此号码不存在 | 该号码不存在或已停机 | 无此套餐 | 无此产品 |
查无此号码 | 未找到号码归属地 | 查不到号码归属地 | 找不到该号码 | 无此用户 | 用户不存在 | 该用户不存在 |
无此号段 | 余额不足 | 号码已停机 | 充值失败 | 订单失败 | 订单超时 | 订单已取消 | 订单已退款 | 交易失败 |
交易超时 | 下单失败 | 重复下单 | 订单重复 | 订单金额错误 | 订单状态异常 | 订单处理失败 | 订单已关闭 |
账户不存在 | 商户不存在 | 产品不存在 | 商品不存在 | 套餐不存在 | 无可用渠道 | 未找到可用渠道 | 没有可用通道 |
找不到可用通道 | 无库存 | 没有权限 | 无交易权限 | 无效号码 | 无效的手机号 | 号码错误 | 手机号错误 |
号码不存在，订单失败 | 订单失败，号码不存在 | 订单失败:手机号不存在 | 该手机号不在白名单 | 号码在黑名单中 |
用户在黑名单 | 无法充值 | 无法处理该订单 | 系统错误 | 未知错误 | 运营商维护 | 该地区维护 | 号码归属地不存在 |
没有该套餐 | 没有该产品 | 没有此号码 | 不支持该号码 | 未开户 | 未实名 | 无此业务 | 业务不存在 | 面值不存在 |
没有对应面值 | 查無此號碼 | 號碼不存在 | 接口不存在 | 订单中的号码不存在 | 充值失败，查无此号码 |
未找到对应的产品 | 订单未找到可用渠道 | user not found | no such product | subscriber not found |
recharge failed | number not found | phone number does not exist | no such subscriber | product not found |
order failed: number not found | order failed | order timeout | insufficient balance | channel not found |
mobile number does not exist | number not found, order failed | 号码不存在 充值失败 | 手 机 号 码 不 存 在 |
no stock | MSISDN_NOT_FOUND | account does not exist | NO SUCH USER | E0042 | 没有可充值的产品 |
身份信息不存在 | 订单已存在 | 号码不存在，请核对订单 | 该订单的手机号码不存在 | invalid number |
subscriber does not exist | order rejected | 未发现该号码 | 订单金额有误 | invalid order amount | 充值金额为空 |
号码为空 | 未查到身份信息 | 无此笔套餐 | 笔数超限 | data package not found | no data plan | invalid phone number |
请求超时 |
产品无效 | 号码无效 | 无效订单数量 | 订单无效:停机 | 无效订单（空号） | 订单未受理，地市维护中 | 卡密无效订单失败 |
省份非法订单失败 | 订单号2016：无效卡 | 订单号2016，无效充值卡 | invalid order quantity | no such request type |
order no 123456: invalid denomination | order no.123 - incorrect pin | order number 1234 invalid sim |
request id 12345 is invalid card | request not found phone |
无效产品 | 无效用户 | 未知产品 | 非法号码 | 无效金额 | 无效请求 | 非法请求 | 无效单价 | 无效交易 | 交易无效 |
数据无效 | 无效数据 | 订单充值失败 | 订单金额无效 | 无效订单金额 | 无效的订单充值金额 | 订单状态未知 |
未知订单状态 | 订单未知错误 | 订单未知原因失败 | 订单信息无效 | 订单手机号无效 | 订单产品无效 | 订单参数非法 |
订单非法操作 | 无效订单类型 | 无效订单手机号 | 无效订单：号码不存在 | 订单无效，余额不足 |
订单无效，该手机号已停机 | 订单失败：无效号码 | 订单号2016无效号码 | 订单号123错误号码 | 订单未受理：余额不足 |
订单未受理成功 | 运营商未受理该订单 | 上游未受理此单 | 渠道尚未受理该订单 | 未受理 | 交易未受理 | 号码未受理 |
订单未收到运营商回执 | 订单未完成 | 订单未支付 | 订单已失效 | 订单已过期 | 订单已作废 | 查单无法完成 |
查询订单无响应 | 查单无权限 | 订单金额为空 | 订单号码为空 | 产品未入库 | 资料丢失 | 号码无效 订单失败 |
产品无效 订单已退款 | 手机号无效 订单号：123 | 号码未受理 订单失败 | 参数非法 订单关闭 |
MOBILE_INVALID-ORDER_FAILED | 订单号2016 无效的手机号 | 订单号码归属地未知 | 该订单为空号 | 查询为空号 |
order failed: invalid number | order invalid: wrong mobile number | invalid order: insufficient balance |
invalid order type | invalid order status | order amount invalid | invalid amount | order invalid number |
order id 2016: invalid number | invalid request | invalid transaction | invalid product | request failed |
request timeout | request failed: number not found | 查询不到 | not found
""")


def verdict_of(remark: str) -> Verdict:
    said = make_report(traffic_sts="-1", remark=remark, mobile=MASKED, ori_amount="0")
    return judge(make_order(), [said], app_id=APP_ID, polled_by=IdKind.REQUEST_ID)


def test_the_tables_hold_sixty_phrases_each() -> None:
    assert min(len(set(DENIALS)), len(set(FAILURES))) >= 60
    assert not set(DENIALS) & set(FAILURES)


@pytest.mark.parametrize("remark", DENIALS)
def test_a_phrase_for_no_such_order_is_a_denial_beside_an_agreeing_number(remark: str) -> None:
    assert verdict_of(remark).is_denial


@pytest.mark.parametrize("remark", FAILURES)
def test_a_phrase_about_anything_else_is_a_failed_recharge(remark: str) -> None:
    assert verdict_of(remark).effect is Effect.FAILED


@pytest.mark.parametrize(
    "filler", ["单", "记录", "订单号", "没有的", "order ", "查", "订单号 ", "订单未", "无效的", "invalid "]
)
def test_a_remark_made_to_be_searched_for_long_is_judged_within_half_a_second(filler: str) -> None:
    remark = (filler * 500)[:500]
    start = process_time()
    verdict_of(remark)
    assert process_time() - start < 0.5
