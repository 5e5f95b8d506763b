"""Labels that look wrong: ranked, shown on contact sheets, and corrected in a copy of the annotations."""
