"""One module for each system we pull from: it describes what was delivered and knows no lake."""
