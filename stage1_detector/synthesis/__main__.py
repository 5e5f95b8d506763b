"""`python -m stage1_detector.synthesis`: see make_photos."""

from stage1_detector.synthesis.make_photos import main

if __name__ == "__main__":
    raise SystemExit(main())
