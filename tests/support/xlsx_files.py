"""Files for Excel as Excel reads them: from their parts, and by nothing of the writer's."""

import io
import re
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

_MAIN = {"": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
_REFERENCE = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_EPOCH = datetime(1899, 12, 30, tzinfo=UTC)
_ESCAPE = re.compile("_x([0-9A-F]{4})_")


@dataclass(frozen=True)
class Cell:
    """A value and its number format."""

    value: str | Decimal
    """A time is as Excel shows it."""
    shape: str


@dataclass(frozen=True)
class Sheet:
    """Its cells by row and column, both from 0, and what belongs to all of them."""

    cells: dict[tuple[int, int], Cell]
    frozen_rows: int
    filtered: str | None
    widths: dict[int, float]

    def rows(self) -> list[list[Any]]:
        """The values, with None for an empty cell; an empty row is an empty list."""
        found: list[list[Any]] = []
        for row, column in sorted(self.cells):
            found += ([] for _ in range(row + 1 - len(found)))
            found[row] += [None] * (column - len(found[row]))
            found[row].append(self.cells[row, column].value)
        return found

    def column(self, header: str) -> list[Cell | None]:
        """The cells below a header."""
        found = next(column for (row, column), cell in self.cells.items() if row == 0 and cell.value == header)
        return [self.cells.get((row, found)) for row in range(1, max(row for row, _ in self.cells) + 1)]


def read_xlsx(content: bytes) -> dict[str, Sheet]:
    """The sheets by their names, in their order. Fails where a cell holds a formula or an error."""
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        read = {name: ElementTree.fromstring(parts.read(name)) for name in parts.namelist() if "/" in name}
    shapes = _shapes(read["xl/styles.xml"])
    targets = {one.get("Id"): one.get("Target") for one in read["xl/_rels/workbook.xml.rels"]}
    named = read["xl/workbook.xml"].findall("sheets/sheet", _MAIN)
    return {one.get("name", ""): _sheet(read[f"xl/{targets[one.get(_REFERENCE)]}"], shapes) for one in named}


def _shapes(styles: ElementTree.Element) -> list[str]:
    own = {one.get("numFmtId"): one.get("formatCode", "") for one in styles.findall("numFmts/numFmt", _MAIN)}
    known = {"0": "General", "1": "0", "49": "@", **own}
    return [known[one.get("numFmtId", "0")] for one in styles.findall("cellXfs/xf", _MAIN)]


def _sheet(read: ElementTree.Element, shapes: list[str]) -> Sheet:
    cells = {_position(one.get("r", "")): _cell(one, shapes) for one in read.iterfind("sheetData/row/c", _MAIN)}
    pane, filtered = read.find("sheetViews/sheetView/pane", _MAIN), read.find("autoFilter", _MAIN)
    return Sheet(
        cells=cells,
        frozen_rows=0 if pane is None or pane.get("state") != "frozen" else int(pane.get("ySplit", "0")),
        filtered=None if filtered is None else filtered.get("ref"),
        widths={int(one.get("min", "0")) - 1: float(one.get("width", "0")) for one in read.iterfind("cols/col", _MAIN)},
    )


def _position(reference: str) -> tuple[int, int]:
    letters, row = reference.rstrip("0123456789"), int(reference.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return row - 1, column - 1


def _cell(read: ElementTree.Element, shapes: list[str]) -> Cell:
    shape, kind = shapes[int(read.get("s", "0"))], read.get("t", "n")
    assert read.find("f", _MAIN) is None, "a formula"
    if kind == "inlineStr":
        text = read.findtext("is/t", "", _MAIN)
        return Cell(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text), shape)
    assert kind == "n", kind
    number = float(read.findtext("v", "", _MAIN))
    if shape.startswith("yyyy"):
        return Cell(f"{_EPOCH + timedelta(seconds=round(number * 86_400)):%Y-%m-%d %H:%M:%S}", shape)
    # Excel counts with 15 digits.
    return Cell(Decimal(f"{number:.15g}"), shape)
