"""`python -m experiments.gpu`."""

from experiments.gpu.command import main

if __name__ == "__main__":
    raise SystemExit(main())
