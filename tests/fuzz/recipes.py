"""Garbage as platforms, proxies and people produce it: each piece must be refused, or read and settle nothing.

No piece may settle an order rightly. A piece is an item that *would* settle order R1 or C1 but for one fatal flaw
(`settling`): a reader that overlooks the flaw settles an order. Where any byte may be changed by chance, the item has
several flaws (`harmless`), so that one changed byte cannot remove them all.
"""

import gzip
import json
import random
import zlib
from collections.abc import Iterator

Piece = tuple[str, bytes]
"""A name that says what is wrong, and the body."""

SETTLING = {
    "requestId": "R1",
    "customParm": "C1",
    "appid": "app",
    "trafficSts": "1",
    "remark": "充值成功",
    "mobile": "188****0804",
    "oriAmount": "2.94",
}
HARMLESS = {"requestId": "R1", "customParm": "C1", "appid": "another", "trafficSts": "2", "remark": "未知状态"}
HUGE = 4 * 1024 * 1024

_AMOUNTS = (
    *("NaN", "Infinity", "-Infinity", "1e400", "29.4e-5", "-2.94", '"-0"', "[2.94]", '{"yuan":2.94}', "true", "null"),
    *('""', '" 2.94"', '"2.94 "', '"2,94"', '"¥2.94"', '"2.94元"', '"+2.94"', '"0x2"', '".5"', '"5."', '"1_000"'),
    *(
        '"２.９４"',
        '"2.94\\u200b"',
        '"٢.٩٤"',
        '"2.94567"',
        '"99999999999.00"',
        '"1e2"',
        '"nan"',
        '"二元"',
        '"2.94\\u0000"',
    ),
    *('"\\ud800"', "9" * 5000, '"' + "9" * 5000 + '"', '"0.' + "0" * 5000 + '1"'),
)
_STATUSES = (
    *('"01"', '"1.0"', "1.0", "1e0", '" 1"', '"1 "', '"１"', '"1\\u200b"', '"\\ufeff1"', "true", "[1]", '{"v":"1"}'),
    *('"success"', '"成功"', '"+1"', '"－1"', '"−1"', '"-1.0"', "-1.0", '"2"', "2", '""', "null", '"1\\u0000"'),
    *('"\\udc00"', "1" * 5000, '"' + "1" * 5000 + '"', '"1,1"', '"①"', '"0b1"', "-11", '"١"'),
)
_CODES = (
    *(
        '"-2"',
        "-205",
        '"00"',
        '"0000000"',
        '["0"]',
        "true",
        "{}",
        '"OK"',
        '" 0"',
        '"０"',
        "0.0",
        "1e1",
        '"-9"',
        '"200"',
    ),
    *("200", '"\\u0000"', '"\\ud83d"', "1" * 5000, '"' + "x" * 5000 + '"', "-1e400", '"成功"'),
)
_ID_ENDINGS = ("\u200b", "\ufeff", " ", "\u00a0", "\t", "\u0000", "\ud800", "\u0301", ",R2", "'", "]", "0" * 5000)


def pieces(seed: int) -> Iterator[Piece]:
    """At least 300 pieces; the same for the same seed."""
    chance = random.Random(seed)
    yield from _cut_short(chance)
    yield from _wrong_values()
    yield from _wrong_texts()
    yield from _wrong_bytes()
    yield from _wrong_shapes()
    yield from _compressed(chance)
    yield from _huge()
    yield from _damaged(chance)


def settling(**changed: str) -> str:
    """The item that would settle, with fields changed to these JSON texts, which come last."""
    fields = [f"{json.dumps(k)}:{json.dumps(v, ensure_ascii=False)}" for k, v in SETTLING.items() if k not in changed]
    return "{" + ",".join([*fields, *(f'"{name}":{value}' for name, value in changed.items())]) + "}"


def harmless() -> str:
    """The item with several flaws."""
    return json.dumps(HARMLESS, ensure_ascii=False)


def _cut_short(chance: random.Random) -> Iterator[Piece]:
    for name, text in (
        ("item", settling()),
        ("list", f"[{settling()},{settling()}]"),
        ("data", f'{{"data":[{settling()}]}}'),
    ):
        body = text.encode()
        for end in sorted(chance.sample(range(len(body)), 30)):
            yield f"cut-{name}-at-{end}", body[:end]


def _wrong_values() -> Iterator[Piece]:
    for number, value in enumerate(_AMOUNTS):
        yield f"amount-{number}", settling(oriAmount=value).encode()
    for number, value in enumerate(_STATUSES):
        yield f"status-{number}", settling(trafficSts=value).encode()
    for number, value in enumerate(_CODES):
        yield f"code-{number}", settling(statusCode=value).encode()
        yield f"code-alone-{number}", f'{{"statusMsg":["x"],"statusCode":{value}}}'.encode()
    for number, ending in enumerate(_ID_ENDINGS):
        ids = {"requestId": json.dumps("R1" + ending), "customParm": json.dumps("C1" + ending)}
        yield f"id-{number}", settling(**ids).encode()
    for number, value in enumerate(('["R1"]', "{}", "true", "null", '""', '"r1"', '"Ｒ1"', "1", "1" * 5000)):
        # A missing id is no damage where the order's own number is evidence for a lone item.
        lone = {"mobile": "null"} if value in ("null", '""') else {}
        yield f"id-type-{number}", settling(requestId=value, customParm=value, **lone).encode()
    for field in ("appid", "mobile", "remark"):
        for number, value in enumerate(('["x"]', "{}", "true")):
            yield f"{field}-type-{number}", settling(**{field: value}).encode()
    yield "appid-of-another", settling(appid='"another"').encode()
    yield "mobile-of-another", settling(mobile='"189****0805"').encode()
    yield "failed-and-nothing-else", b'{"requestId":"R1","customParm":"C1","trafficSts":"-1"}'
    yield "failed-no-such-order", settling(trafficSts='"-1"', oriAmount='"0"', remark='"订单不存在"').encode()


def _wrong_texts() -> Iterator[Piece]:
    item = settling()
    for name, text in (
        ("trailing", item + "x"),
        ("trailing-brace", item + "}"),
        ("lines", f"{item}\n{item}\n"),
        ("comma", item[:-1] + ",}"),
        ("comment", "/* ok */" + item),
        ("jsonp", f"callback({item});"),
        ("single-quotes", item.replace('"', "'")),
        ("bare-keys", "{requestId:'R1',trafficSts:1}"),
        ("twice-encoded", json.dumps(item)),
        ("php-warning", f"<br />\n<b>Warning</b>: mysql_connect() in <b>/www/a.php</b> on line <b>3</b><br />{item}"),
        ("html", f"<!DOCTYPE html><html><head><title>200 OK</title></head><body>{item}</body></html>"),
        ("login-page", "<html><body><form action='/portal'>请登录校园网</form></body></html>"),
        ("gateway", "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<center>nginx</center></html>"),
        ("xml", "<?xml version='1.0'?><response><requestId>R1</requestId><trafficSts>1</trafficSts></response>"),
        (
            "soap",
            "<soap:Envelope><soap:Body><r trafficSts='1' requestId='R1' oriAmount='2.94'/></soap:Body></soap:Envelope>",
        ),
        ("form", "requestId=R1&trafficSts=1&oriAmount=2.94"),
        ("yaml", "requestId: R1\ntrafficSts: '1'\noriAmount: '2.94'\n"),
        ("chunks", f"{len(item):x}\r\n{item}\r\n0\r\n\r\n"),
        ("header-inside", f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{item}"),
        ("event-stream", f"data: {item}\n\n"),
        ("anti-hijacking", ")]}'\n" + item),
        ("python", str(SETTLING)),
        ("doubled-key", item[:-1] + ',"trafficSts":"2"}'),
        ("doubled-id", item[:-1] + ',"requestId":"R2","customParm":"C2"}'),
        ("key-in-other-case", item[:-1] + ',"TRAFFICSTS":"-1"}'),
        ("id-in-other-case", item[:-1] + ',"REQUESTID":"R2","CUSTOMPARM":"C2"}'),
        ("control-character", item.replace("充值", "\x01")),
        ("tab-in-key", item.replace("trafficSts", "traffic\tSts")),
        ("zero-width-key", item.replace("trafficSts", "traffic\u200bSts")),
        ("escape", item.replace("充值", "\\x41")),
        ("half-escape", item.replace("充值", "\\u12")),
        ("leading-zero", settling(trafficSts="01")),
        ("plus", settling(oriAmount="+2.94")),
        ("empty", ""),
        ("blank", " \r\n\t "),
        ("null", "null"),
        ("words", '"成功"'),
        ("number", "1"),
        ("zeros", "\0" * 200),
    ):
        yield f"text-{name}", text.encode()


def _wrong_bytes() -> Iterator[Piece]:
    item = settling()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7"):
        yield f"bytes-{encoding}", (item + ("é" if encoding == "utf-7" else "")).encode(encoding)
    for encoding in ("gbk", "gb18030", "utf-8-sig", "utf-8"):
        yield f"harmless-{encoding}", harmless().encode(encoding)
    yield "harmless-big5", '{"trafficSts":"2","remark":"未知"}'.encode("big5")
    yield "bom-twice", b"\xef\xbb\xbf\xef\xbb\xbf" + item.encode()
    yield "bom-and-gbk", b"\xef\xbb\xbf" + item.encode("gbk")
    yield "bom-only", b"\xef\xbb\xbf"
    yield "overlong", item.encode().replace(b"R1", b"\xc1\x92\xc0\xb1")
    yield "surrogate-bytes", item.encode().replace("充".encode(), b"\xed\xa0\x80")
    yield "half-character", item.encode().replace("充".encode(), b"\xe5\x85")
    yield "tls-alert", b"\x15\x03\x03\x00\x02\x02\x28"
    yield "png", b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def _wrong_shapes() -> Iterator[Piece]:
    of_another = settling(requestId='"R999"', customParm='"C999"')
    item, other = settling(), settling(trafficSts='"-1"', oriAmount='"0"')
    for name, text in (
        ("two-that-differ", f"[{item},{other}]"),
        ("many-that-differ", "[" + ",".join(settling(oriAmount=f'"{n}"') for n in range(200)) + "]"),
        ("two-lists", f'{{"a":[{item}],"b":[{item}]}}'),
        ("list-of-lists", f"[[{item}]]"),
        ("under-another-id", f'{{"R1":{of_another},"C1":{of_another}}}'),
        ("list-of-texts", json.dumps([item])),
        ("text-inside", json.dumps({"data": item})),
        ("deep-lists", "[" * 100_000),
        ("deep-objects", '{"a":' * 1000 + item + "}" * 1000),
        ("just-too-deep", "[" * 16 + item + "]" * 16),
        ("closed-only", "]" * 1000),
        ("empty-keys", '{"":"","":""}'),
        ("nothing", "{}"),
        ("nulls", "[null,null]"),
        ("mixed", f'[1,"x",null,[{item}],true]'),
        ("good-code-and-text", json.dumps({"statusCode": "0", "data": item})),
        ("error-list", f"[{settling(statusCode=chr(34) + '-3' + chr(34))}]"),
        ("many-same", "[" + ",".join([harmless()] * 300) + "]"),
        ("others", "[" + ",".join(settling(requestId=f'"X{n}"', customParm=f'"Y{n}"') for n in range(500)) + "]"),
    ):
        yield f"shape-{name}", text.encode()


def _compressed(chance: random.Random) -> Iterator[Piece]:
    whole = gzip.compress(settling().encode(), mtime=0)
    for end in sorted(chance.sample(range(len(whole)), 10)):
        yield f"gzip-cut-at-{end}", whole[:end]
    for number in range(10):
        at = chance.randrange(20, len(whole))
        yield f"gzip-damaged-{number}", whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
    yield "gzip-goes-on", whole + whole
    yield "gzip-of-gzip", gzip.compress(whole, mtime=0)
    yield "gzip-harmless", gzip.compress(harmless().encode(), mtime=0)
    yield "zlib-harmless", zlib.compress(harmless().encode())
    yield "deflate-harmless", zlib.compress(harmless().encode(), wbits=-15)
    yield "gzip-bomb", gzip.compress(b"[" + b" " * (2 * HUGE) + b"]", mtime=0)
    yield "zlib-bomb", zlib.compress(bytes(2 * HUGE))


def _huge() -> Iterator[Piece]:
    yield "huge-text", settling(remark='"' + "好" * (HUGE // 3) + '"', trafficSts='"2"').encode()
    yield "huge-number", settling(oriAmount="9" * (HUGE - 1000)).encode()
    yield "huge-list", b"[" + b",".join([b'{"requestId":"X"}'] * (HUGE // 38)) + b"]"
    yield "huge-list-of-nothing", b"[" + b"{}," * (HUGE // 6) + b"{}]"
    yield "huge-keys", ("{" + ",".join(f'"{n}":{{}}' for n in range(HUGE // 40)) + "}").encode()
    yield "huge-unfinished-text", b'"' + b'\\"' * (HUGE // 2 - 10)
    yield "huge-blank", b" " * HUGE
    yield "huge-beyond", b"[" + b" " * HUGE + b"]"


def _damaged(chance: random.Random) -> Iterator[Piece]:
    for number in range(60):
        body = bytearray(f'{{"statusCode":"0","list":[{harmless()},{harmless()}]}}'.encode())
        for _ in range(chance.randint(1, 6)):
            at, cut = chance.randrange(len(body)), chance.randint(0, 3)
            body[at : at + cut] = chance.randbytes(chance.randint(0, 3))
        yield f"damaged-{number}", bytes(body)
    for number in range(20):
        yield f"noise-{number}", chance.randbytes(chance.randint(1, 400))
