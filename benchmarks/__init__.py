"""Speed and memory against what a user would use instead: ``make bench``."""
