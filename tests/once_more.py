"""What failed in the last run of pytest, once more and alone: `make test-failed`.

Real servers on two shared cores are late now and then. A few tests that pass alone are unsteady, and are named so:
work to do, but no reason to distrust a change. More than a few, or none on record, is a failure as it stands.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MOST_UNSTEADY_TESTS = 3
_RECORD = Path(".pytest_cache/v/cache/lastfailed")


def failed_tests(record: Path) -> list[str]:
    """Node ids that pytest noted as failed; none where it noted nothing."""
    return sorted(json.loads(record.read_text())) if record.exists() else []


def main() -> int:
    failed = failed_tests(_RECORD)
    if not 0 < len(failed) <= MOST_UNSTEADY_TESTS:
        print(f"{len(failed)} tests on record as failed: tried again are 1 to {MOST_UNSTEADY_TESTS}")
        return 1
    alone = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    outcome = subprocess.run([*alone, *failed], check=False).returncode
    if outcome == 0:
        print("unsteady (failed, then passed alone):", *failed, sep="\n  ")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
