"""`python -m stage1_detector.distillation`: see teach."""

from stage1_detector.distillation.teach import main

if __name__ == "__main__":
    raise SystemExit(main())
