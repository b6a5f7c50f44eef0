"""Which encoding bytes are in, where a label may be missing or wrong."""


def is_damaged_utf_8(body: bytes) -> bool:
    """Whether bytes that are no UTF-8 are text in UTF-8 with some bytes missing or wrong.

    Such text often decodes as GB18030, into other words: a denial would no longer be read as one. Text in GB18030 has
    more wrong bytes than characters if it is read as UTF-8.
    """
    text = body.decode("utf-8", "replace")
    wrong = text.count("\N{REPLACEMENT CHARACTER}")
    return sum(character > "\x7f" for character in text) >= 2 * wrong
