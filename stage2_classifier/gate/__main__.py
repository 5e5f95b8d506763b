"""`python -m stage2_classifier.gate`: see fit."""

from stage2_classifier.gate.fit import main

if __name__ == "__main__":
    raise SystemExit(main())
