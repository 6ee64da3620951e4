"""`make bench`: rows per second, ratios to plain copies, peak memory and how it grows, beside another converter's."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from benchmarks import focus_converter
from benchmarks.bills import KINDS, bill_of
from benchmarks.normalisation import measure_copy, measure_normalisation
from benchmarks.processes import THREADS, Measured, ProcessFailed
from benchmarks.report import Compared, Converted, Grown, phases_of, report

LINES = 1_000_000
RUNS = 5
_GROWTH = "growth"
_PEER = "focus-converter"
PARTS = (*KINDS, _GROWTH, _PEER)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts asked for, tell each figure as it comes, and end with a table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--lines", type=int, default=LINES, help="of CUR 2.0; the other bills have half, growth 5 and 10 times"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="of each measurement, after one that doesn't count")
    parser.add_argument("--parts", type=_parts, default=PARTS, help=f"of {','.join(PARTS)}")
    chosen = parser.parse_args(arguments)
    compared, grown, converted, skipped = [], [], [], []
    for kind in KINDS:
        if kind in chosen.parts:
            lines = chosen.lines if kind in ("cur", "cur-wide") else chosen.lines // 2
            compared.append(_compare(kind, lines, chosen.runs))
    if _GROWTH in chosen.parts:
        grown = [_grow(factor * chosen.lines) for factor in (1, 5, 10)]
    if _PEER in chosen.parts:
        try:
            converted = _convert(chosen.lines, max(chosen.runs - 2, 1))
        except (focus_converter.NotInstalled, ProcessFailed) as error:
            skipped.append(f"focus-converter 1.0.0 can't be run here: {error}")
    print(report(compared, grown, converted, skipped), flush=True)


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := sorted({*parts} - {*PARTS}):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return parts


def _compare(kind: str, lines: int, runs: int) -> Compared:
    """Alternate the plain copy and our work, after one uncounted run of each."""
    bill = bill_of(kind, lines)
    steps = {"copy": lambda: measure_copy(bill), "ours": lambda: measure_normalisation(bill)}
    measured = _alternate(f"{KINDS[kind]}, {bill.lines:,} lines", steps, runs)
    result = Compared(KINDS[kind], bill.lines, measured["copy"], measured["ours"])
    print(phases_of(result), flush=True)
    return result


def _grow(lines: int) -> Grown:
    measured = measure_normalisation(bill_of("cur", lines))
    _tell(f"growth, {lines:,} lines", "ours", measured)
    return Grown(lines, measured)


def _convert(lines: int, runs: int) -> list[Converted]:
    """Alternate our work and each of the converter's modes, on the same lines."""
    command = focus_converter.install()
    bill = bill_of("cur-wide", lines)
    steps: dict[str, Callable[[], Measured]] = {"ours": lambda: measure_normalisation(bill)}
    for mode in focus_converter.MODES:
        steps[mode] = lambda mode=mode: focus_converter.measure_conversion(command, lines, mode)  # type: ignore[misc]
    measured = _alternate(f"focus-converter, {lines:,} lines", steps, runs)
    return [Converted(mode, lines, measured["ours"], measured[mode]) for mode in focus_converter.MODES]


def _alternate(title: str, steps: Mapping[str, Callable[[], Measured]], runs: int) -> dict[str, list[Measured]]:
    measured: dict[str, list[Measured]] = {name: [] for name in steps}
    for run in range(runs + 1):
        for name, step in steps.items():
            result = step()
            _tell(title, f"{name}, {f'run {run}' if run else 'to warm up'}", result)
            if run:
                measured[name].append(result)
    return measured


def _tell(title: str, what: str, measured: Measured) -> None:
    print(
        f"{title}: {what}: {measured.seconds:.2f} s, {measured.process_seconds:.2f} s with its start, "
        f"{measured.processor_seconds:.2f} s of processors, {measured.peak_mib:,.0f} MiB, {THREADS} threads",
        flush=True,
    )


if __name__ == "__main__":
    main()
