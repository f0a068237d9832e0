"""``python -m speechtools.cli``."""

import sys

from speechtools.cli import main

sys.exit(main())
