"""`python -m hylle VERB`: see verbs."""

from hylle.verbs import main

if __name__ == "__main__":
    raise SystemExit(main())
