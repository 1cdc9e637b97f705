"""`python -m videosoft` is the same as `lightning`."""

import sys

from videosoft.cli import main

sys.exit(main())
