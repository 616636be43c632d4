"""``torchrun`` that leaves the last word to the process that failed.

``python -m mmdense.engine.torchrun`` takes torchrun's arguments. When a process fails, torchrun
prints a traceback of its own over the message that says why; here one line follows it.
"""

import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun


def main(argv: list[str] | None = None) -> int:
    """Run torchrun and return the exit code of the first process that failed, or 0."""
    try:
        torchrun(argv)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        sys.stdout.flush()
        sys.stderr.write(
            f'error: process {rank} ended with exit code {failure.exitcode}; its own message '
            'is above.\n'
        )
        return failure.exitcode if 0 < failure.exitcode < 256 else 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
