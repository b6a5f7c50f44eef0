/*
 * The budget's protocol: grant, send, answer, tighten. README.md beside this file says what is modelled, what is left
 * out, and how to run it (`make model`). Each step names the code that it models.
 *
 * S1: in any window the platform sees the arrivals of at most SLOTS queries of one account SID.
 *
 * Time. A tick may come between any two steps, so each process may be paused anywhere, for any time. Every time is
 * stored relative to this moment: "now" is always NOW, and a tick moves each stored time one into the past. A time that
 * is too old to matter moves no further, so the states are finite without a horizon.
 */

/* ---------------------------------------------------------------------------------------------------- configuration */

#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef FIRST_HOST             /* so many of the workers run on host 0, the others on host 1 */
#define FIRST_HOST WORKERS
#endif
#ifndef SLOTS                  /* 1 or 2 */
#define SLOTS 1
#endif
#ifndef DATABASE_CLOCK         /* one of the two below */
#define DATABASE_CLOCK TRUE_TIME
#endif
#ifndef REBOOT                 /* whether hosts may reboot */
#define REBOOT 0
#endif
#ifndef CLAMPS_ONLY            /* whether host 1 has no orders: it takes slots, may clamp a wait, and never queries */
#define CLAMPS_ONLY 0
#endif
#ifndef WINDOW
#define WINDOW 2
#endif
#ifndef DEADLINE_0             /* host 0's; a multiple of three, for the third that a query needs */
#define DEADLINE_0 3
#endif
#ifndef DEADLINE_1
#define DEADLINE_1 3
#endif
#ifndef PAST                   /* how far back due times are distinguished; what lies further back counts as due */
#define PAST LONGEST_RESERVATION
#endif
#ifndef LEASES                 /* whether the lease of an order is followed */
#define LEASES 1
#endif
#ifndef PROBE                  /* one of the points below: a run that reaches it ends in an error, with its trail */
#define PROBE 0
#endif

#define TRUE_TIME 0
#define STEPS_AT_WILL 1        /* stepped either way at will */

#define HOST(w) ((w) < FIRST_HOST -> 0 : 1)
#define DEADLINE(w) ((w) < FIRST_HOST -> DEADLINE_0 : DEADLINE_1)

/* worker/domain/records/accounts.py, spacing_seconds and reservation_seconds. The margin is for differences of clocks
   and networks; the protocol must hold without it. */
#define MARGIN 0
#define SPACING (WINDOW + MARGIN)
#define RESERVATION(w) (DEADLINE(w) + SPACING)

#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define LONGEST_RESERVATION (MAX(DEADLINE_0, DEADLINE_1) + SPACING)
#define NOW LONGEST_RESERVATION    /* a reading older than this gives only waits that are over */

#define NOBODY 255
#define OLD_BOOT 254

#define THIRD_ARRIVAL 1
#define SKIPPED 2
#define QUERIED_BY_DATABASE 3
#define CLAMPED 4
#define UNSENT 5
#define ORPHAN_ARRIVED 6
#define TIGHTENED 7
#define STALE_TOKEN 8
#define SETTLED 9
#define REBOOTED 10
#define reach(point) assert(PROBE != point)

/* ------------------------------------------------------------------------------------------------------------ state */

/* A row of query_budgets: worker/domain/records/accounts.py, Slot. */
typedef Slot {
    byte locked_by = NOBODY;
    byte due_at;               /* by the database's clock */
    byte boot_id;
    byte boot_due;             /* by that boot's clock */
    byte wait;
    byte token = NOBODY        /* the worker that holds it: each has one query at a time */
};
Slot slots[SLOTS];

/* What each worker remembers; 0 where it remembers nothing. */
bool busy[WORKERS];
byte started[WORKERS];         /* t0 */
byte boot[WORKERS];            /* the last readings of both clocks: worker/domain/records/accounts.py, Reading */
byte database[WORKERS];
bool heard[WORKERS];           /* the platform saw its query, so an answer may come */
bool polls[WORKERS];           /* its query polls the order below */
#ifdef MUTANT_D
byte sent[WORKERS];
byte sent_database[WORKERS];
#endif

/* Requests between the send and their end. One more than there are slots is enough: with more of them under way, S1 is
   already broken in the run in which that many arrive. */
typedef Request {
    bool under_way;
    byte ends;
    byte owner = NOBODY        /* the worker that would get an answer */
};
#define REQUESTS (SLOTS + 1)
Request requests[REQUESTS];

byte arrivals[SLOTS];          /* when the platform saw the last queries, newest first */

byte lease = NOBODY;           /* one order among many: whose grant leased it (recharge_orders.lease_token) */

#if PROBE == THIRD_ARRIVAL
byte arrived;
#endif

/* ------------------------------------------------------------------------------------------------------------- time */

/* Below its floor a time is too old to matter: every decision is the same for all such times. */
#define age(time, floor) if :: time > floor -> time-- :: else fi
#define LONG_DUE (NOW - PAST)
#define LAST_SEND(w) (NOW - DEADLINE(w) + DEADLINE(w) / 3)

inline gone(r) {
    requests[r].under_way = false; requests[r].ends = 0; requests[r].owner = NOBODY
}

active proctype Time() {
    byte i;
    do
    :: d_step {
        for (i : 0 .. WORKERS - 1) {
            age(started[i], LAST_SEND(i) - 1);
            age(boot[i], 0);
            age(database[i], 0)
#ifdef MUTANT_D
            ; age(sent[i], 0); age(sent_database[i], 0)
#endif
        }
        for (i : 0 .. SLOTS - 1) {
            age(slots[i].due_at, LONG_DUE);
            age(slots[i].boot_due, LONG_DUE);
            age(arrivals[i], NOW - WINDOW)
        }
        for (i : 0 .. REQUESTS - 1) {
            if
            :: requests[i].under_way && requests[i].ends > NOW -> requests[i].ends--
            /* worker/adapters/platform/exchange.py, _cut_now: it never arrived, and never will */
            :: requests[i].under_way && requests[i].ends <= NOW -> gone(i)
            :: else
            fi
        }
        i = 0
       }
    od
}

/* A reboot: each worker of the host ends first; the new boot's id is unique. */
#define IDLE_OR_ELSEWHERE(w, host) (w >= WORKERS || HOST(w) != host || !busy[(w) % WORKERS])
#define IS_IDLE(host) (IDLE_OR_ELSEWHERE(0, host) && IDLE_OR_ELSEWHERE(1, host) && IDLE_OR_ELSEWHERE(2, host))

proctype Reboot(byte host) {
    byte i;
    do
    :: atomic {
        IS_IDLE(host) -> reach(REBOOTED);
        for (i : 0 .. SLOTS - 1) {
            if :: slots[i].boot_id == host -> slots[i].boot_id = OLD_BOOT :: else fi
        }
        i = 0
       }
    od
}

/* --------------------------------------------------------------------------------------------------------- platform */

inline note_arrival() {
#if SLOTS == 2
    arrivals[1] = arrivals[0];
#endif
    arrivals[0] = NOW;
#if PROBE == THIRD_ARRIVAL
    arrived++;
    assert(arrived < 3)
#endif
}

/* The network: a request arrives at any moment from its send to its deadline, if at all. */
proctype Network(byte r) {
    do
    :: atomic {
        requests[r].under_way ->
        assert(arrivals[SLOTS - 1] + WINDOW <= NOW);            /* S1 */
        note_arrival();
        if
        :: requests[r].owner != NOBODY -> heard[requests[r].owner] = true
        :: else -> reach(ORPHAN_ARRIVED)
        fi;
        gone(r)
       }
    od
}

/* --------------------------------------------------------------------------------- worker/domain/queries/slots_and_clocks.py */

/* _longest_wait */
#ifdef MUTANT_READERS_DEADLINE
#define LONGEST_WAIT RESERVATION(me)
#else
#define LONGEST_WAIT MAX(slots[at].wait, RESERVATION(me))
#endif

/* boot_clock_decides: the same boot, and written_at (the due time less the wait) is not ahead of our reading. */
#ifdef MUTANT_DATABASE_ALONE
#define BOOT_CLOCK_DECIDES false
#else
#define BOOT_CLOCK_DECIDES (slots[at].boot_id == HOST(me) && slots[at].boot_due <= boot[me] + slots[at].wait)
#endif

/* may_query: Permission.QUERY and CLAMP; neither is WAIT. A clock that is stepped at will may have been stepped before
   each reading, so where it decides it may read any time, and its times need not be kept. */
#define NOT_BEFORE(now, due) (now >= due || due <= LONG_DUE)
#define QUERY (BOOT_CLOCK_DECIDES -> NOT_BEFORE(boot[me], slots[at].boot_due) \
                                  : DATABASE_CLOCK == STEPS_AT_WILL || NOT_BEFORE(database[me], slots[at].due_at))
#define CLAMP (!BOOT_CLOCK_DECIDES && \
               (DATABASE_CLOCK == STEPS_AT_WILL || slots[at].due_at > database[me] + LONGEST_WAIT))

#define DATABASE_NOW (DATABASE_CLOCK == STEPS_AT_WILL -> 0 : NOW)
#define DATABASE_DUE(seconds) (DATABASE_CLOCK == STEPS_AT_WILL -> 0 : database[me] + (seconds))

/* is_too_late_to_send */
#define TOO_LATE (started[me] + DEADLINE(me) < NOW + DEADLINE(me) / 3)

/* _closed_for, in reserve and in tighten. The token is the caller's. */
inline close_for(seconds) {
    slots[at].due_at = DATABASE_DUE(seconds);
    slots[at].boot_id = HOST(me);
    slots[at].boot_due = boot[me] + seconds;
    slots[at].wait = seconds
}

/* clamp: boot id, boot time and token stay. */
inline clamp() {
    slots[at].wait = LONGEST_WAIT;
    slots[at].due_at = DATABASE_DUE(slots[at].wait);
#ifdef MUTANT_READERS_BOOT
    slots[at].boot_id = HOST(me);
    slots[at].boot_due = boot[me] + slots[at].wait
#endif
}

/* ----------------------------------------------------------------------------------------------------------- worker */

/* The end of a pass, a transaction's failure and a crash have the same effect for the others: the lock is released, what
   was not committed is lost, nothing is remembered, and the token is never used again. A request stays under way. */
inline forget() {
    d_step {
        if :: slots[at].locked_by == me -> slots[at].locked_by = NOBODY :: else fi;
        if :: slots[at].token == me -> slots[at].token = NOBODY :: else fi;
        if :: lease == me -> lease = NOBODY :: else fi;
        for (i : 0 .. REQUESTS - 1) {
            if :: requests[i].owner == me -> requests[i].owner = NOBODY :: else fi
        }
        busy[me] = false; started[me] = 0; boot[me] = 0; database[me] = 0; heard[me] = false; polls[me] = false;
#ifdef MUTANT_D
        sent[me] = 0; sent_database[me] = 0;
#endif
        at = 0; i = 0
    }
}

inline send() {
    do :: i < REQUESTS && requests[i].under_way -> i++ :: else -> break od;
    i < REQUESTS;
    requests[i].under_way = true;
    requests[i].ends = MAX(started[me] + DEADLINE(me), NOW);
    requests[i].owner = me;
#ifdef MUTANT_D
    sent[me] = NOW; sent_database[me] = DATABASE_NOW;
#endif
    i = 0
}

/* worker/domain/records/queries.py, Query.holds: a write-back changes an order only while its own grant's lease is the
   last one. */
#define HOLDS_ORDER (polls[me] && lease == me)

#ifdef MUTANT_NO_TOKEN
#define HOLDS_SLOT true
#else
#define HOLDS_SLOT (slots[at].token == me)
#endif

inline write_back() {
    if
    :: HOLDS_SLOT ->
        reach(TIGHTENED); close_for(SPACING);
        if :: HOLDS_ORDER -> reach(SETTLED); lease = NOBODY :: else fi
    :: else -> reach(STALE_TOKEN)                               /* settles nothing, moves no slot */
    fi
}

/* Workers of one host are alike, so the next pass is the first idle one's. */
#define IS_TAKEN(w) ((w) < 0 || HOST(w) != HOST(me) || busy[MAX(w, 0)])
#define IS_NEXT (IS_TAKEN(me - 1) && IS_TAKEN(me - 2))

#define OR_CRASH :: atomic { true -> forget(); goto idle }

proctype Worker(byte me) {
    byte at;                   /* the slot of this pass */
    byte i;

idle:
    /* worker/process/ticks.py starts a pass for a slot */
    atomic {
        IS_NEXT -> busy[me] = true;
        if
        :: at = 0
#if SLOTS == 2
        :: at = 1
#endif
        fi
    }
#ifdef MUTANT_B                /* the clocks, then the wait for the row, and only then the start of the deadline */
    if :: boot[me] = NOW OR_CRASH fi;
    if :: database[me] = DATABASE_NOW OR_CRASH fi;
    if :: atomic { slots[at].locked_by == NOBODY -> slots[at].locked_by = me } OR_CRASH fi;
    if :: started[me] = NOW OR_CRASH fi;
#else
    /* 1: worker/process/reconcile.py, Reconciler.take, `started` */
    if :: started[me] = NOW OR_CRASH fi;
    /* 2: worker/stores/accounts.py, lock_free_slot: SKIP LOCKED */
    if
    :: atomic { slots[at].locked_by == NOBODY -> slots[at].locked_by = me }
    :: atomic { slots[at].locked_by != NOBODY -> reach(SKIPPED); forget(); goto idle }
    OR_CRASH
    fi;
    /* 3: worker/operations/maintain_slots.py, read_clocks, in its order */
    if :: boot[me] = NOW OR_CRASH fi;
    if :: database[me] = DATABASE_NOW OR_CRASH fi;
#endif
    /* 4: worker/operations/reserve_slot.py, Grants.take. To wait ends like a crash: nothing is written. */
    if
    :: atomic { CLAMP -> reach(CLAMPED); clamp(); forget(); goto idle }
    :: atomic {
        QUERY && !(CLAMPS_ONLY && HOST(me) == 1) ->
        if :: BOOT_CLOCK_DECIDES :: else -> reach(QUERIED_BY_DATABASE) fi
       }
    OR_CRASH
    fi;
    /* 5, 6: the rest of Grants.take, `mark_lost` to `save_state`, and COMMIT. An empty claim, and any error, ends like a
       crash; a COMMIT whose confirmation is lost ends like a crash after it. */
    if
    :: atomic {
        close_for(RESERVATION(me));
        slots[at].token = me;
        slots[at].locked_by = NOBODY;
        boot[me] = 0; database[me] = 0;
        /* The order may be leased, even from another grant, or not: that depends on its due time, which a stepped
           clock may move at any moment. */
        if :: LEASES -> lease = me; polls[me] = true :: true fi
       }
    OR_CRASH
    fi;
#ifdef MUTANT_LATE_START
    if :: started[me] = NOW OR_CRASH fi;
#endif
    /* 7: worker/adapters/platform/exchange.py, before_write with check_may_begin, and the send: one step */
    if
#ifdef MUTANT_NO_LAST_CHECK
    :: atomic { send() }
#else
    :: atomic { !TOO_LATE -> send() }
    :: atomic { TOO_LATE -> reach(UNSENT); forget(); goto idle }
#endif
    OR_CRASH
    fi;
    /* worker/adapters/platform/client.py, PlatformClient._exchange: once the platform saw the query, a whole answer may
       come. Any other end leaves the slot as it stands, so it ends like a crash. */
    /* 8: worker/operations/write_back.py, WriteBack._lock: lock_slot_of_token waits for the row, read_clocks */
    if
    :: atomic {
        heard[me] && slots[at].locked_by == NOBODY -> slots[at].locked_by = me
#ifndef MUTANT_STALE_BOOT
        ; started[me] = 0                                       /* it is not needed any more */
#endif
       }
    OR_CRASH
    fi;
    if :: boot[me] = NOW OR_CRASH fi;
    if :: database[me] = DATABASE_NOW OR_CRASH fi;
    /* ... budget.tighten, and COMMIT */
    if
    :: atomic {
#ifdef MUTANT_STALE_BOOT       /* step 1's reading, where step 8 must read again */
        boot[me] = started[me];
#endif
#ifdef MUTANT_D                /* a window from the send, not from the answer */
        boot[me] = sent[me]; database[me] = sent_database[me];
#endif
        write_back();
        forget(); goto idle
       }
    OR_CRASH
    fi
}

/* ------------------------------------------------------------------------------------------------------------ start */

init {
    byte i;
    atomic {
        for (i : 0 .. SLOTS - 1) {
            /* worker/stores/accounts.py, add_slot: a slot seen for the first time is closed for one reservation */
            slots[i].due_at = (DATABASE_CLOCK == STEPS_AT_WILL -> 0 : NOW + RESERVATION(0));
            slots[i].boot_id = 0;
            slots[i].boot_due = NOW + RESERVATION(0);
            slots[i].wait = RESERVATION(0);
            arrivals[i] = NOW - WINDOW
        }
        for (i : 0 .. REQUESTS - 1) { run Network(i) }
        for (i : 0 .. WORKERS - 1) { run Worker(i) }
        if :: REBOOT -> run Reboot(0); run Reboot(1) :: else fi;
        i = 0
    }
}
