"""`python -P -m understudy`: works where a console script cannot, such as below a path with a space.

Without `-P` Python looks into the current directory first. What it imported before this line cannot be helped;
from here on that directory is no place for code, here and in everything that is started from here.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[:1]

from understudy.cli import main

main()
