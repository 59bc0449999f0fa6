"""Data: procedural scenes, real photographs, loaders for data sets on disk, transforms."""
