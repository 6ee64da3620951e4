"""`make bench`: prints rows per second, the ratio to a plain copy, peak memory, and how they grow with the bill."""

from __future__ import annotations

from benchmarks.normalisation import measure, report

SIZES = (1_000_000, 3_000_000)


def main() -> None:
    """Measure every size and print the figures as they come."""
    peaks = {}
    for lines in SIZES:
        baseline, work = measure(lines)
        print(report(lines, baseline, work), flush=True)
        peaks[lines] = (max(run.peak_mib for run in work), sorted(run.seconds for run in work)[len(work) // 2])
    (small, large) = SIZES
    print(
        f"growth from {small:,} to {large:,} lines (x{large / small:.1f}): "
        f"time x{peaks[large][1] / peaks[small][1]:.2f}, peak memory x{peaks[large][0] / peaks[small][0]:.2f}"
    )


if __name__ == "__main__":
    main()
