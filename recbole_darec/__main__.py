"""``python -m recbole_darec``."""

import sys

from recbole_darec.cli.main import main

sys.exit(main())
