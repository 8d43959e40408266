"""Records, the store that keeps them, and the tidy rows read from them."""
