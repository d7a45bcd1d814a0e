"""`python -m crl.cli`."""

from crl.cli import main

if __name__ == "__main__":
    main()
