"""A detector that learns from another: what the teacher knows, and what the student loses by it and by the truth."""
