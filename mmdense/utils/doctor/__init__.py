"""Looks at an installation: what is there, what works, and what mends the rest.

Only the standard library is needed, so it runs where nothing else does. Every fact comes
through a :class:`Machine`, and every import is tried in a process of its own: a package that
breaks, or takes the interpreter down with it, is then a row of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from .accelerator import check_torch, matching_requirement
from .extras import (
    check_bounds,
    check_caches,
    check_mmdense,
    check_optional,
    check_shared_memory,
)
from .machine import OK, OPTIONAL, PROBLEM, WARNING, Finding, Machine, ThisMachine
from .stack import check_families, check_opencv, check_ops, ops_command

__all__ = [
    'OK',
    'OPTIONAL',
    'PROBLEM',
    'WARNING',
    'Finding',
    'Machine',
    'ThisMachine',
    'check_python',
    'examine',
    'matching_requirement',
    'ops_command',
    'report',
    'usable',
]


def check_python(version: tuple[int, ...]) -> Finding:
    """The interpreter's version."""
    text = '.'.join(map(str, version[:3]))
    if version[:2] < (3, 10):
        return Finding('python', PROBLEM, text, 'install Python 3.10 or newer')
    return Finding('python', OK, text)


def examine(machine: Machine, environ: Mapping[str, str], python: tuple[int, ...]) -> list[Finding]:
    """All checks, those that start processes side by side."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        torch = pool.submit(check_torch, machine)
        families = pool.submit(check_families, machine)
        ops = pool.submit(check_ops, machine)
        opencv = pool.submit(check_opencv, machine)
        optional = pool.submit(check_optional, machine, machine.version('torch'))
        own = pool.submit(check_mmdense, machine)
        return [
            check_python(python),
            *torch.result(),
            *families.result(),
            ops.result(),
            opencv.result(),
            *optional.result(),
            check_bounds(machine),
            *check_caches(machine, environ),
            *check_shared_memory(machine),
            own.result(),
        ]


def usable(findings: Sequence[Finding]) -> bool:
    """Whether nothing stops mmdense from being used."""
    return all(finding.state != PROBLEM for finding in findings)


def report(findings: Sequence[Finding]) -> str:
    """The table, then the commands that mend, those for problems first."""
    width = max(len(finding.part) for finding in findings)
    lines = [
        f'{finding.part:<{width}}  {finding.state:<8}  {finding.detail}' for finding in findings
    ]
    for state, title in (
        (PROBLEM, 'Must be mended:'),
        (WARNING, 'Should be looked at:'),
        (OPTIONAL, 'Only if you need it:'),
    ):
        chosen = [finding for finding in findings if finding.state == state]
        if chosen:
            lines += ['', title]
            lines += [f'  {finding.part}: {finding.mend}' for finding in chosen]
    verdict = 'mmdense can be used.' if usable(findings) else 'mmdense cannot be used yet.'
    return '\n'.join([*lines, '', verdict])
