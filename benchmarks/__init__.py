"""A realistic synthetic population, and what hccore does with it in how much time."""
