"""Real servers on loopback for the tests: what each needs, how it is started, what it says it was asked."""
