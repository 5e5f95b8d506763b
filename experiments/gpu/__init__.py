"""What a GPU is to prove: that it is used, FP16 against float32, how fast run.py and trainings are, what memory does."""
