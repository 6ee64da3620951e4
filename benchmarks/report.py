"""The figures as people read them: one plain table, and what was asked of us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.processes import THREADS, Measured

LARGEST_RATIO = 2.0
LARGEST_PEAK_MIB = 3 * 1024
LARGEST_MEMORY_GROWTH = 1.1
SMALLEST_SPEEDUP = 3.0
LARGEST_PART_OF_MEMORY = 0.25


@dataclass(frozen=True)
class Compared:
    """A kind of bill: runs of the plain copy and of ours, in pairs."""

    title: str
    lines: int
    copies: Sequence[Measured]
    ours: Sequence[Measured]

    @property
    def ratios(self) -> list[float]:
        """Ours by the copy beside it, in order of size."""
        return sorted(ours.seconds / copy.seconds for ours, copy in zip(self.ours, self.copies, strict=True))

    @property
    def processor_ratio(self) -> float:
        """Ours by the copy in processor time, whole processes."""
        return median(run.processor_seconds for run in self.ours) / median(run.processor_seconds for run in self.copies)


@dataclass(frozen=True)
class Grown:
    """One run of ours at one size."""

    lines: int
    measured: Measured


@dataclass(frozen=True)
class Converted:
    """A mode of focus-converter beside ours; both are whole processes."""

    mode: str
    lines: int
    ours: Sequence[Measured]
    theirs: Sequence[Measured]

    @property
    def speedups(self) -> list[float]:
        """Their seconds by ours, in order of size."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return sorted(theirs.process_seconds / ours.process_seconds for ours, theirs in pairs)

    @property
    def part_of_memory(self) -> float:
        """The worst of our peaks as a part of the median of theirs."""
        return max(run.peak_mib for run in self.ours) / median(run.peak_mib for run in self.theirs)


def phases_of(compared: Compared) -> str:
    """Where the time of the median run of ours goes."""
    middle = sorted(compared.ours, key=lambda run: run.seconds)[len(compared.ours) // 2]
    lines = [f"  where the time of the median run goes ({middle.seconds:.2f} s):"]
    lines += [f"    {name:<38}{spent:7.2f} s {spent / middle.seconds:5.0%}" for name, spent in middle.phases.items()]
    return "\n".join(lines)


def report(
    compared: Sequence[Compared], grown: Sequence[Grown], converted: Sequence[Converted], skipped: Sequence[str]
) -> str:
    """The table and, below it, what is asked of the figures and whether they keep it."""
    blocks = [block for block in (_compared(compared), _grown(grown), _converted(converted)) if block]
    blocks += [f"SKIPPED: {reason}" for reason in skipped]
    if asked := _asked(compared, grown, converted):
        blocks.append(
            "asked of it\n" + "\n".join(f"  {'kept  ' if kept else 'MISSED'}  {what}" for what, kept in asked)
        )
    return "\n\n" + "\n\n".join(blocks) + "\n"


def _compared(compared: Sequence[Compared]) -> str:
    if not compared:
        return ""
    lines = [
        f"landed -> committed, audits included, beside DuckDB's plain copy of the same files; {THREADS} threads; medians",
        f"  {'bill':<32}{'lines':>11}{'copy':>9}{'ours':>9}{'rows/s':>10}  {'ratio (min to max)':<22}{'by CPU':>7}{'copy, ours: MiB':>17}",
    ]
    for each in compared:
        ours = median(run.seconds for run in each.ours)
        ratios = f"{median(each.ratios):.2f} ({each.ratios[0]:.2f} to {each.ratios[-1]:.2f})"
        lines.append(
            f"  {each.title:<32}{each.lines:>11,}{median(run.seconds for run in each.copies):>7.2f} s{ours:>7.2f} s"
            f"{each.lines / ours:>10,.0f}  {ratios:<22}{each.processor_ratio:>7.2f}{_peak(each.copies):>9,.0f}{_peak(each.ours):>8,.0f}"
        )
    return "\n".join(lines)


def _grown(grown: Sequence[Grown]) -> str:
    if not grown:
        return ""
    lines = [
        "growth with the bill, CUR 2.0 in Parquet, one run each; memory is of the whole process tree",
        f"  {'lines':>12}{'seconds':>10}{'rows/s':>10}{'peak MiB':>10}   against the size before",
    ]
    for number, each in enumerate(grown):
        before = grown[number - 1] if number else None
        growth = (
            f"lines x{each.lines / before.lines:.1f}, time x{each.measured.seconds / before.measured.seconds:.2f}, "
            f"memory x{each.measured.peak_mib / before.measured.peak_mib:.2f}"
            if before
            else ""
        )
        lines.append(
            f"  {each.lines:>12,}{each.measured.seconds:>10.2f}{each.lines / each.measured.seconds:>10,.0f}"
            f"{each.measured.peak_mib:>10,.0f}   {growth}"
        )
    return "\n".join(lines)


def _converted(converted: Sequence[Converted]) -> str:
    if not converted:
        return ""
    first = converted[0]
    seconds = median(run.process_seconds for run in first.ours)
    lines = [
        f"beside focus-converter 1.0.0 on {first.lines:,} CUR 2.0 lines with all columns; whole processes, their start included; medians",
        f"  {'':<32}{'seconds':>9}{'CPU s':>8}{'rows/s':>10}{'peak MiB':>10}   ours beside it",
        f"  {'ours, maps and audits included':<32}{seconds:>9.2f}"
        f"{median(run.processor_seconds for run in first.ours):>8.2f}{first.lines / seconds:>10,.0f}{_peak(first.ours):>10,.0f}",
    ]
    for each in converted:
        theirs = median(run.process_seconds for run in each.theirs)
        speedups = f"{median(each.speedups):.2f} ({each.speedups[0]:.2f} to {each.speedups[-1]:.2f})"
        lines.append(
            f"  {f'focus-converter, {each.mode} mode':<32}{theirs:>9.2f}"
            f"{median(run.processor_seconds for run in each.theirs):>8.2f}{each.lines / theirs:>10,.0f}"
            f"{median(run.peak_mib for run in each.theirs):>10,.0f}   rate x{speedups}, memory x{each.part_of_memory:.2f}"
        )
    return "\n".join(lines)


def _asked(
    compared: Sequence[Compared], grown: Sequence[Grown], converted: Sequence[Converted]
) -> list[tuple[str, bool]]:
    asked = [
        (
            f"{each.title}: ratio at most {LARGEST_RATIO}: {median(each.ratios):.2f}",
            median(each.ratios) <= LARGEST_RATIO,
        )
        for each in compared
        if "as text" not in each.title
    ]
    if len(grown) > 1:
        largest = max(each.measured.peak_mib for each in grown)
        growth = grown[-1].measured.peak_mib / grown[-2].measured.peak_mib
        asked += [
            (f"memory below {LARGEST_PEAK_MIB:,} MiB: {largest:,.0f} MiB", largest < LARGEST_PEAK_MIB),
            (
                f"memory doesn't grow from {grown[-2].lines:,} to {grown[-1].lines:,} lines: x{growth:.2f}",
                growth <= LARGEST_MEMORY_GROWTH,
            ),
        ]
    for each in converted:
        speedup = median(each.speedups)
        asked += [
            (
                f"{SMALLEST_SPEEDUP:.0f} times focus-converter's rate, {each.mode} mode: {speedup:.2f}",
                speedup >= SMALLEST_SPEEDUP,
            ),
            (
                f"a quarter of focus-converter's memory, {each.mode} mode: {each.part_of_memory:.2f}",
                each.part_of_memory <= LARGEST_PART_OF_MEMORY,
            ),
        ]
    return asked


def _peak(runs: Sequence[Measured]) -> float:
    return max(run.peak_mib for run in runs)
