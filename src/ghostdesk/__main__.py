"""`python -m ghostdesk` is `ghostdesk`."""

from ghostdesk.cli import main

main()
