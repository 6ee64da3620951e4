"""`apportion demo | python -m examples.picture FILE.svg`: the report of the demo as the picture in README.md."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

FIRST = "Reconciliation"
LAST = "Unit costs"


def main(target: Path, printed: list[str]) -> None:
    """Draw the lines of the report from reconciliation to showback."""
    first = next(number for number, line in enumerate(printed) if line.startswith(FIRST))
    last = next(number for number, line in enumerate(printed) if line.startswith(LAST))
    lines = [line.rstrip() for line in printed[first:last]]
    console = Console(record=True, width=max(map(len, lines)) + 2, file=io.StringIO(), highlight=False)
    for line in lines:
        console.print(line, markup=False, style="bold" if line and line[0].isalpha() else "")
    # A picture in a repository fetches no fonts from elsewhere.
    own_fonts = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(target), title="make demo", code_format=own_fonts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin.read().splitlines())
