"""One recipe a paper: its board at two scales and its claims."""
