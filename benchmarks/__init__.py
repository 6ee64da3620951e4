"""Speed and memory against a baseline measured in the same run: `make bench`."""
