"""`python -P -m understudy`: works where a console script cannot, such as below a path with a space.

Without `-P` Python looks into the current directory first: for this package, and for what it needs itself to start it
(`contextlib`, `functools`, `types` and others). That cannot be helped from here; from this line on that directory is
no place for code, here and in everything that is started from here.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[:1]

from understudy.cli import main

main()
