"""What a finished set is worth: fresh networks trained on it, attacked, counted, compared."""
