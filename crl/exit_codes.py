"""What `crl` tells the shell."""

DONE = 0
FAILED = 1
REFUSED = 2  # usage or config; nothing has been written
INTERRUPTED = 130  # Ctrl-C; what was there has been saved
TERMINATED = 143  # SIGTERM; the same
