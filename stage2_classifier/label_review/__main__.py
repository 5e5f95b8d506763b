"""`python -m stage2_classifier.label_review`: see review."""

from stage2_classifier.label_review.review import main

if __name__ == "__main__":
    raise SystemExit(main())
