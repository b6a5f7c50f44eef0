"""Column types that mean the same on PostgreSQL, MariaDB and SQLite."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Enum, Integer, Numeric, SmallInteger, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from worker.domain.records.orders import TrafficStatus

_MYSQL = ("mysql", "mariadb")

#: A row's id. SQLite assigns ids by itself only in a column of type INTEGER.
RowId = BigInteger().with_variant(Integer(), "sqlite")

#: A text that may be longer than MariaDB's TEXT (64 KiB).
LongText = Text().with_variant(mysql.MEDIUMTEXT(), *_MYSQL)

#: An order's id, compared byte by byte. SQLite (BINARY) and MariaDB (utf8mb4_bin) compare all texts this way. On
#: PostgreSQL the collation C does it: it keeps ids with a common start together in the unique index, and an update of
#: the system's locales cannot corrupt the index.
OrderId = String(64).with_variant(String(64, collation="C"), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC, to the microsecond. Naive times are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use DATETIME(6) on MariaDB, because its plain DATETIME drops fractions of a second."""
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert the time to UTC. If the database stores no zones, the zone is removed. Raises ValueError for a naive
        time."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"a naive time has no place in the database: {value!r}")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time as an aware time in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Amount(TypeDecorator[Decimal]):
    """An exact amount in yuan. On SQLite, which has no decimals, it is a text such as `2.94`."""

    impl = Numeric(14, 4)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use a decimal type; on SQLite, use a text."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(20))
        return dialect.type_descriptor(Numeric(14, 4))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | str | None:
        """On SQLite, write the amount in plain digits, never with an exponent."""
        return format(value, "f") if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Decimal | str | None, dialect: Dialect) -> Decimal | None:
        """Return the amount as a decimal; SQLite gives it as a text."""
        return None if value is None else Decimal(value)


class StatusNumber(TypeDecorator[TrafficStatus]):
    """A `trafficSts` of the platform, stored as its number: 1, -1 or 0."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: TrafficStatus | None, dialect: Dialect) -> int | None:
        """Write a plain number, because not every driver accepts a member of an enumeration."""
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> TrafficStatus | None:
        """Return the enumeration's member for the number."""
        return None if value is None else TrafficStatus(value)


def text_enum(values: type[StrEnum], length: int) -> Enum:
    """A column type that stores a member of an enumeration as the member's text. A text that is no member's is
    refused."""
    return Enum(
        values,
        native_enum=False,
        length=length,
        values_callable=lambda enumeration: [member.value for member in enumeration],
        validate_strings=True,
    )


def pymysql_conversions() -> Mapping[Any, Any]:
    """PyMySQL's own conversions of the values that it reads, except that times are converted by a faster function.

    PyMySQL's own function parses a DATETIME with a regular expression. This takes 1.4 µs, and choosing a batch reads
    some thousands of times. The driver is imported here because the other databases do not need it.
    """
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions as own
    from pymysql.converters import convert_datetime

    def read_time(text: str) -> Any:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            # Like PyMySQL's own function, return an invalid time, such as 0000-00-00, as text.
            return convert_datetime(text)

    return {**own, FIELD_TYPE.DATETIME: read_time}
