"""What a judged run and a detector cost: time, memory, bad photos, kills, and detectors side by side."""
