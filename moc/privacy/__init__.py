"""The only stage that reads T: the ledger that owns it, sums with noise, and paid scores."""
