"""`scfae demo`: digits seen and heard, from media made on this machine to a report."""
