"""A page in the browser: try photos, look at doubtful labels, confirm boxes on photos without labels."""
