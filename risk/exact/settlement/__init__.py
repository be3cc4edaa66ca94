"""Settlement of expiries, and the wind-down."""
