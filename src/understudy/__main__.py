"""`python -P -m understudy`: works where a console script cannot, such as below a path with a space.

Without `-P` Python looks into the current directory first: for this package, and for what it needs itself to start it
(`contextlib`, `functools`, `types` and others). This module cannot prevent that. From here on no code is taken from
that directory, neither by this process nor by those that it starts.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[:1]

from understudy.cli import main

main()
