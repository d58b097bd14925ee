"""The Olm machine, asked as the adapter asks it."""
