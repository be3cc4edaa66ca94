"""Gas bench: what the issue's table asks for, measured on real transactions, with gates."""
