"""`python -m understudy`: works where a console script cannot, such as below a path with a space."""

from understudy.cli import main

main()
