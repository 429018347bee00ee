"""How long each test file takes: files over the budget are named at the end of a run.

``pytest --dist loadfile`` gives whole files to its processes, so one long file holds up all. A budget is reported and
not asserted, for times depend on the machine.
"""

from collections import defaultdict

import pytest

BUDGET_S = 20.0
"""Seconds of one file on one core of the machine on which the suite takes five minutes; see CONTRIBUTING.md."""


class FileTimes:
    """Adds up the phases of all tests by file."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.location[0]] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        over = sorted((seconds, file) for file, seconds in self.seconds.items() if seconds > BUDGET_S)
        if over:
            terminalreporter.section(f"files over {BUDGET_S:.0f} s of {sum(self.seconds.values()):.0f} s in all")
        for seconds, file in reversed(over):
            terminalreporter.write_line(f"{seconds:6.1f} s  {file}")
