"""``python -m recbole_darec.cli``."""

import sys

from recbole_darec.cli.main import main

sys.exit(main())
