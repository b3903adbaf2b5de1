"""Networks: architectures, banks of random ones, and the one training loop."""
