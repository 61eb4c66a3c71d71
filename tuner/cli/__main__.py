"""`python -m tuner.cli`: the command line, where the installed command is not on the path."""

import sys

from .app import main

sys.exit(main())
