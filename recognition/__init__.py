"""Names the products on anyone's photos: a run folder, a zip or the starter in, tables and pictures out."""
