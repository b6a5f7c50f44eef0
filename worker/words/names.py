"""What values are called that the tables hold under stable names."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from worker.domain.records.access import Role
from worker.domain.records.findings import Level
from worker.domain.records.incoming import Trust
from worker.domain.records.notifications import DeliveryOutcome, EventType, NotificationState, TransportKind
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import Lane, Source
from worker.domain.records.reports import IdKind, TrafficStatus
from worker.words import N_

NAMES: Mapping[type[Enum], Mapping[Enum, str]] = MappingProxyType(
    {
        EventKind: {
            EventKind.SETTLED: N_("Result"),
            EventKind.REPORTED: N_("Still being recharged"),
            EventKind.NOT_BELIEVED: N_("Said, but settles nothing"),
            EventKind.CONTRADICTED: N_("Contradicts the result"),
            EventKind.IGNORED: N_("Recorded only"),
            EventKind.FILLED_IN: N_("Filled in"),
            EventKind.GAVE_UP: N_("Polling stopped"),
            EventKind.CANCELLED: N_("Order cancelled"),
            EventKind.CHECK_REQUESTED: N_("Check requested"),
            EventKind.ASKED_ALONE: N_("Polled alone from now on"),
            EventKind.SUSPECTED: N_("Was in a query that failed"),
            EventKind.CLEARED: N_("Polled with others again"),
            EventKind.OVERDUE: N_("Overdue"),
            EventKind.REOPENED: N_("Reopened"),
            EventKind.DISMISSED: N_("Attention dismissed"),
        },
        Source: {
            Source.QUERY: N_("query"),
            Source.CALLBACK: N_("callback"),
            Source.ENQUEUE: N_("submission"),
            Source.BILLING: N_("billing system"),
            Source.OPERATOR: N_("operator"),
            Source.WORKER: N_("worker"),
        },
        Lane: {
            Lane.BATCH: N_("with others"),
            Lane.ALONE: N_("alone"),
            Lane.SUSPECT: N_("with its suspect group"),
            Lane.LONE_SUSPECT: N_("alone, as a suspect"),
        },
        IdKind: {
            IdKind.REQUEST_ID: N_("by platform number"),
            IdKind.CUSTOM_PARM: N_("by own number"),
        },
        TrafficStatus: {
            TrafficStatus.RECHARGED: N_("1, recharged"),
            TrafficStatus.FAILED: N_("-1, failed"),
            TrafficStatus.RECHARGING: N_("0, being recharged"),
        },
        NotificationState: {
            NotificationState.PENDING: N_("Waiting"),
            NotificationState.DELIVERED: N_("Delivered"),
            NotificationState.GAVE_UP: N_("Given up"),
        },
        EventType: {
            EventType.SUCCEEDED: N_("Order succeeded"),
            EventType.FAILED: N_("Order failed"),
            EventType.UNRESOLVED: N_("Order unresolved"),
            EventType.CANCELLED: N_("Order cancelled"),
            EventType.REOPENED: N_("Order reopened"),
            EventType.ATTENTION: N_("Attention changed"),
        },
        TransportKind: {
            TransportKind.WEBHOOK: N_("HTTP request"),
            TransportKind.CELERY: N_("Celery task"),
        },
        DeliveryOutcome: {
            DeliveryOutcome.ACCEPTED: N_("Accepted"),
            DeliveryOutcome.UNREACHABLE: N_("No connection"),
            DeliveryOutcome.TIMEOUT: N_("No answer in time"),
            DeliveryOutcome.HTTP_ERROR: N_("HTTP error"),
            DeliveryOutcome.MALFORMED: N_("Unreadable answer"),
            DeliveryOutcome.REFUSED: N_("Refused"),
        },
        Trust: {
            Trust.SETTLE: N_("settles its order"),
            Trust.CHECK: N_("only has its order checked"),
        },
        Level: {
            Level.OK: N_("All is well"),
            Level.WARNING: N_("Warning"),
            Level.CRITICAL: N_("Critical"),
        },
        Role: {
            Role.READ: N_("read"),
            Role.ACT: N_("read and act"),
        },
    }
)
"""By the type of a value, what each of its members is called."""

QUERY_OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "in_flight": N_("Under way"),
        "answered": N_("Answered"),
        "refused": N_("Refused by the platform"),
        "malformed": N_("Unreadable answer"),
        "http_error": N_("HTTP error"),
        "timeout": N_("No answer in time"),
        "unreachable": N_("No connection"),
        "unsent": N_("Not sent"),
        "lost": N_("Lost: its worker ended"),
    }
)
"""How a query ended (`platform_queries.outcome`)."""
