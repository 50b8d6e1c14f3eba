"""``python -m tests.some MODULE ARGUMENT…`` runs a module; that pytest was left no test is no failure here.

``make test ARGS="-k name"`` calls pytest several times, and few tests are in all of them.
"""

from __future__ import annotations

import subprocess
import sys

NOTHING_CHOSEN = 5

if __name__ == "__main__":
    code = subprocess.run([sys.executable, "-m", *sys.argv[1:]], check=False).returncode
    sys.exit(0 if code == NOTHING_CHOSEN and "-k" in " ".join(sys.argv) else code)
