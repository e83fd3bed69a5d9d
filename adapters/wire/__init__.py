"""How values look outside of the program, whichever driving side tells them."""
