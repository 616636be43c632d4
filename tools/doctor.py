"""Say what is installed, what works, and what mends the rest.

::

    python tools/doctor.py
    python tools/doctor.py --json
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

# The doctor is asked where the package is not installed yet, or not for this interpreter.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmdense.utils.command_line import ToolParser
from mmdense.utils.doctor import ThisMachine, examine, report, usable


def main(argv: list[str] | None = None) -> int:
    """Examine this machine; 0 if mmdense can be used, 1 if not."""
    parser = ToolParser(__doc__)
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
    args = parser.parse_args(argv)
    findings = examine(ThisMachine(), dict(os.environ), tuple(sys.version_info[:3]))
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        print(report(findings))
    return 0 if usable(findings) else 1


if __name__ == '__main__':
    sys.exit(main())
