"""Our own Olm machine on vodozemac: devices, sessions, what may be read and written."""
