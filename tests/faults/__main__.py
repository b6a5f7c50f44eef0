"""`python -m tests.faults`: run the faults, and report. `make faults SEED=... ONLY=13` calls it."""

import os
import random
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tests.faults.catalogue import Scenario, catalogue
from tests.faults.lanes import brokers_there, databases_there
from tests.faults.plan import plan
from tests.faults.report import write_report
from tests.faults.runner import Result, Results, run
from tests.support.processes import end_with_all_descendants
from tests.support.small_disk import use_own_mounts

# They wait half of the time. Their workers tick up to ten times a second, and programs start often: with more testbeds
# each process would be so slow that faults fail by chance.
_LANES = min(8, 2 * (os.cpu_count() or 1))
Seed = Annotated[
    int | None, typer.Option(help="Draws the timing; where none is given, a random one is used and printed.")
]
Only = Annotated[str, typer.Option(help="Numbers of faults, with commas; empty: all.")]
InCi = Annotated[bool, typer.Option("--ci", help="Fewer runs of each; every database and broker must be there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue where the last run with this seed stopped.")]
Lanes = Annotated[int, typer.Option(min=1, help="Testbeds side by side.")]
Folder = Annotated[Path, typer.Option(help="For results, the report and the logs of bad runs.")]


def main(
    seed: Seed = None,
    only: Only = "",
    in_ci: InCi = False,
    resume: Resume = False,
    lanes: Lanes = _LANES,
    folder: Folder = Path("build/faults"),
) -> None:
    """Run every fault of the catalogue and check it. Exits 1 where the promise was broken or a run did not finish."""
    if resume and seed is None:
        raise typer.BadParameter("give the seed of the run to continue", param_hint="--seed")
    end_with_all_descendants()
    use_own_mounts()
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    _check_servers(all_needed=in_ci)
    scenarios = _possible(_chosen(only), all_needed=in_ci)
    work = folder.resolve() / (f"seed-{seed}-ci" if in_ci else f"seed-{seed}")
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    results = Results(work / "results.jsonl")
    known = {(result.fault, result.time) for result in results.all()}
    runs = plan(scenarios.values(), seed=seed, in_ci=in_ci, databases=databases_there(), brokers=brokers_there())
    left = [run for run in runs if (run.fault, run.time) not in known]
    print(
        f"Seed {seed}: {len(runs)} runs of {len(scenarios)} faults, {len(left)} of them to do, in {lanes} lanes.",
        flush=True,
    )
    began = time.monotonic()
    run(
        left,
        scenarios,
        lanes=max(1, min(lanes, len(left))),
        folder=work,
        report=lambda result: _keep(result, results, work),
    )
    minutes = (time.monotonic() - began) / 60
    written = write_report(work, results=results.all(), scenarios=scenarios, seed=seed, minutes=minutes)
    done = {(run.fault, run.time) for run in runs}
    finished = [result for result in results.all() if (result.fault, result.time) in done]
    good = sum(result.is_good for result in finished)
    # Once more, and whole: the end of a long output is what its reader sees first.
    for result in finished:
        if not result.is_good:
            _print_line(result)
            print(*(result.error or "").splitlines(), *_reasons(result), sep="\n")
    print(f"{good} of {len(runs)} runs kept the promise, in {minutes:.0f} minutes. Report: {written}")
    sys.exit(0 if good == len(runs) else 1)


def _chosen(only: str) -> Mapping[int, Scenario]:
    known = catalogue()
    numbers = {int(number) for number in only.split(",") if number.strip().isdigit()} or set(known)
    if numbers - known.keys() or (only and not any(map(str.isdigit, only))):
        raise typer.BadParameter(f"known faults are 1 to {max(known)}", param_hint="--only")
    return {number: scenario for number, scenario in known.items() if number in numbers}


def _possible(chosen: Mapping[int, Scenario], *, all_needed: bool) -> Mapping[int, Scenario]:
    impossible = [scenario for scenario in chosen.values() if not scenario.needs()]
    for scenario in impossible:
        print(f"This machine does not permit fault {scenario.number}, {scenario.title}: it is not run.")
    if impossible and all_needed:
        sys.exit("Run this as root, in a container with CAP_SYS_ADMIN.")
    return {number: scenario for number, scenario in chosen.items() if scenario not in impossible}


def _check_servers(*, all_needed: bool) -> None:
    missing = [name for name, is_there in (databases_there() | brokers_there()).items() if not is_there]
    if missing and all_needed:
        sys.exit(
            f"The programs of {', '.join(missing)} are not on this machine: install Debian's mariadb-server and"
            " rabbitmq-server, or the same programs under their names here."
        )
    if missing:
        print(f"Not on this machine, and so not run: {', '.join(missing)}.")


def _keep(result: Result, results: Results, work: Path) -> None:
    """Store and print a result; the logs of a good run are deleted."""
    results.add(result)
    _print_line(result)
    if result.is_good:
        shutil.rmtree(work / result.name, ignore_errors=True)
        return
    print(*(f"       {line}" for line in _reasons(result)), sep="\n", flush=True)


def _reasons(result: Result) -> list[str]:
    """Why a run is bad; of an error the last line."""
    why = [*result.violations[:5], *([result.error.strip().splitlines()[-1]] if result.error else [])]
    return why or ["the fault was not injected"]


def _print_line(result: Result) -> None:
    mark = "ok " if result.is_good else "BAD"
    recovery = f"{result.recovery_seconds:.1f} s" if result.recovery_seconds is not None else "-"
    print(
        f"{mark} {result.fault:2d}.{result.time:02d}  {result.database:10s} {result.broker:8s} {result.seconds:6.1f} s"
        f"  injected {result.injections}, recovered in {recovery}",
        flush=True,
    )


if __name__ == "__main__":
    typer.run(main)
