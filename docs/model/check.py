"""Check the budget's model with spin: each configuration holds, and each mutant ends in a counterexample.

    python3 docs/model/check.py              everything, as a table; exit status 1 where a row is not as it should be
    python3 docs/model/check.py trail NAME   the counterexample of one row of the table, step by step

Needs spin and gcc. Everything is built in a temporary folder.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).with_name("budget.pml")
MEMORY_MB = 1900
"""Of one run; two run at a time."""
DEPTH = 5_000_000
CHANGE = re.compile(r"(slots|started|boot|database|requests|arrivals|heard|at) *(\[|=)(?!.*= (0|false|255)$)")
"""A statement of a replay that changes something, other than by forgetting it."""
INCOMPLETE = ("max search depth too small", "out of memory", "Search not completed", "reached -DMEMLIM", "VECTORSZ")
"""What pan prints where its search was not complete."""
S1 = "arrivals["
"""How the text of S1's assertion begins."""

AT_WILL = "-DDATABASE_CLOCK=STEPS_AT_WILL"
CONFIGURATIONS = {
    "three workers": [AT_WILL],
    "long window": [AT_WILL, "-DWORKERS=2", "-DWINDOW=4"],
    "two slots": [AT_WILL, "-DWORKERS=2", "-DSLOTS=2", "-DPAST=0", "-DLEASES=0"],
    "two hosts": ["-DWORKERS=2", "-DFIRST_HOST=1", "-DREBOOT=1", "-DDEADLINE_0=6"],
    "one host queries": [AT_WILL, "-DFIRST_HOST=2", "-DCLAMPS_ONLY=1", "-DDEADLINE_0=6"],
}
MUTANTS = [
    ("MUTANT_B", "three workers"),
    ("MUTANT_B", "two hosts"),
    ("MUTANT_D", "three workers"),
    ("MUTANT_D", "two hosts"),
    ("MUTANT_LATE_START", "three workers"),
    ("MUTANT_NO_LAST_CHECK", "three workers"),
    ("MUTANT_STALE_BOOT", "three workers"),
    ("MUTANT_DATABASE_ALONE", "three workers"),
    ("MUTANT_NO_TOKEN", "three workers"),
    ("MUTANT_READERS_DEADLINE", "two hosts"),
    ("MUTANT_READERS_DEADLINE", "one host queries"),
    ("MUTANT_READERS_BOOT", "one host queries"),
]
ONE_HOST = frozenset({"SKIPPED", "UNSENT", "ORPHAN_ARRIVED", "TIGHTENED", "STALE_TOKEN", "SETTLED"})
REACHES = {
    "three workers": ONE_HOST,
    "long window": ONE_HOST,
    "two slots": ONE_HOST - {"SETTLED"},
    "two hosts": ONE_HOST | {"QUERIED_BY_DATABASE", "REBOOTED"},
    "one host queries": ONE_HOST | {"CLAMPED"},
}
"""The model's points that a configuration must reach: a search that reaches none of them proves nothing."""
NEVER_REACHES = {
    "three workers": {"QUERIED_BY_DATABASE", "CLAMPED"},
    "two hosts": {"CLAMPED"},
    "one host queries": {"QUERIED_BY_DATABASE"},
}
"""On the boot of the last query the database's clock decides nothing; without steps no wait is too long."""
RESIDUE = [*CONFIGURATIONS["two hosts"], AT_WILL]
"""What docs/reliability.md lists under "What no design can prevent": the clock is stepped, and two boots query."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of the table."""

    name: str
    flags: tuple[str, ...]
    expects: str = ""
    """Part of the assertion that must be violated; empty where all must hold."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a run of spin."""

    run: Run
    states: float
    seconds: float
    fault: str
    """Empty where all is as it should be."""


def all_runs() -> list[Run]:
    """The table's rows, in its order."""
    correct = [Run(name=name, flags=tuple(flags)) for name, flags in CONFIGURATIONS.items()]
    mutants = [
        Run(name=f"{mutant}, {name}", flags=(*CONFIGURATIONS[name], f"-D{mutant}"), expects=S1)
        for mutant, name in MUTANTS
    ]
    probe = Run(
        name="THIRD_ARRIVAL, three workers",
        flags=(*CONFIGURATIONS["three workers"], "-DPROBE=THIRD_ARRIVAL"),
        expects="arrived<3",
    )
    residue = Run(name="residue: two boots query, steps", flags=tuple(RESIDUE), expects=S1)
    return [*correct, *mutants, residue, probe]


def build(run: Run, folder: Path, *, shortest: bool = False) -> None:
    """Make the verifier: depth first, which needs least; or breadth first, whose counterexample is the shortest."""
    shutil.copy(MODEL, folder / MODEL.name)
    # -o3: no statements are merged, or spin's list of unreached ones would lack some. A breadth-first search keeps the
    # merging, since it stores the states within an atomic step.
    merging = [] if shortest else ["-o3"]
    command(["spin", "-a", *merging, *run.flags, MODEL.name], folder)
    memory = 2 * MEMORY_MB if shortest else MEMORY_MB
    search = ["-DBFS"] if shortest else []
    speed = "-O1" if run.expects else "-O2"
    # -w: gcc warns about the code that spin generates.
    command(["gcc", "-w", speed, "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={memory}", *search, "-o", "pan", "pan.c"], folder)


def command(words: list[str], folder: Path) -> str:
    """Run a tool; returns its output. Ends the program where the tool fails."""
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{words[0]} failed ({' '.join(words)}):\n{done.stdout}")
    return done.stdout


def verify(run: Run) -> Result:
    """Build and run one verifier."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="budget-model-") as name:
        folder = Path(name)
        build(run, folder)
        # pan's exit status says less than its output.
        words = ["./pan", f"-m{DEPTH}"]
        pan = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    said = pan.stdout + pan.stderr
    stored = re.search(r"([\d.e+]+) states, stored", said)
    states = float(stored[1]) if stored else 0
    return Result(run=run, states=states, seconds=time.monotonic() - begun, fault=fault_of(run, said))


def fault_of(run: Run, said: str) -> str:
    """What is wrong with a run's output; empty where nothing is."""
    violated = re.search(r"assertion violated (.*) \(at depth", said)
    if violated is not None:
        as_expected = run.expects and run.expects in violated[1]
        return "" if as_expected else f"violated: {violated[1]}"
    for words in INCOMPLETE:
        if words in said:
            return f"the search is not complete ({words})"
    if not re.search(r"errors: 0\b", said):
        return f"spin did not end well: {said[-300:]}"
    return "no counterexample was found" if run.expects else reach_fault_of(run, said)


def reach_fault_of(run: Run, said: str) -> str:
    """What a configuration missed, or reached and must not, by spin's list of unreached statements."""
    numbers = dict(re.findall(r"^#define ([A-Z_]+) (\d+)$", MODEL.read_text("utf-8"), re.MULTILINE))
    unreached = set(re.findall(r"assert\(\(0!=(\d+)\)\)", said))
    missed = sorted(point for point in REACHES[run.name] if numbers[point] in unreached)
    if missed:
        return f"never reached: {', '.join(missed)}"
    wrong = sorted(point for point in NEVER_REACHES.get(run.name, ()) if numbers[point] not in unreached)
    return f"reached, and must not be: {', '.join(wrong)}" if wrong else ""


def show_trail(name: str) -> None:
    """Print the steps that lead to one row's counterexample: the shortest one, where memory allows."""
    runs = {run.name: run for run in all_runs() if run.expects}
    if name not in runs:
        sys.exit(f"no such row: {name!r}; there are: {'; '.join(runs)}")
    with tempfile.TemporaryDirectory(prefix="budget-model-") as temporary:
        folder = Path(temporary)
        for shortest in (True, False):
            build(runs[name], folder, shortest=shortest)
            subprocess.run(["./pan", f"-m{DEPTH}"], cwd=folder, capture_output=True, check=False)
            if (folder / f"{MODEL.name}.trail").exists():
                break
        else:
            sys.exit(f"{name}: no counterexample was found")
        words = ["spin", "-t", "-p", *([] if shortest else ["-o3"]), *runs[name].flags, MODEL.name]
        replay = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False).stdout
    print("\n".join(readable(replay)))


def readable(replay: str) -> Iterator[str]:
    """A replay's lines that change something; a tick of time as one line, without its bookkeeping."""
    end_of_tick = MODEL.read_text("utf-8").splitlines().index("        i = 0") + 1
    for line in replay.splitlines():
        step = re.search(r"proc +(\d+) \((\w+):\d+\) \S+?:(\d+) \(state -?\d+\)\s+\[(.*)\]", line)
        if step is None:
            continue
        number, process, at, words = step.groups()
        if process == "Time":
            if int(at) == end_of_tick and words == "i = 0":
                yield "-- tick"
        elif process == "Reboot" and words.endswith("= 254"):
            yield f"Reboot       line {at}: {words}"
        elif process in ("Worker", "Network") and CHANGE.match(words):
            yield f"{process} {number:<4} line {at}: {words}"


def main() -> None:
    """Run everything, or show one trail."""
    if not shutil.which("spin") or not shutil.which("gcc"):
        sys.exit("the model needs spin and gcc: apt-get install spin gcc")
    if len(sys.argv) == 3 and sys.argv[1] == "trail":
        show_trail(sys.argv[2])
        return
    if len(sys.argv) > 1:
        print("usage: check.py [trail NAME]", file=sys.stderr)
        sys.exit(2)
    print(f"{'run':<42}{'must':<16}{'states':>10}{'seconds':>9}")
    faults = []
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(verify, all_runs()):
            must = "counterexample" if result.run.expects else "hold"
            verdict = "" if not result.fault else "  FAILED"
            print(f"{result.run.name:<42}{must:<16}{result.states:>10,.0f}{result.seconds:>9.1f}{verdict}", flush=True)
            if result.fault:
                faults.append(f"{result.run.name}: {result.fault}")
    if faults:
        sys.exit("the model check failed: " + "; ".join(faults))


if __name__ == "__main__":
    main()
