"""Labels that look wrong: found, ranked, shown on contact sheets, and mended in a copy of the annotations."""
