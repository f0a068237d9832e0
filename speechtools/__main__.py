"""``python -m speechtools``."""

import sys

from speechtools.cli import main

sys.exit(main())
