"""What a folder of photos holds: annotations, photos, studio photos, scenes and parts; and how predictions on it score."""
