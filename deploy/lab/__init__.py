"""Real servers on loopback, for the demonstration and for the tests.

Rules: nothing but the standard library, except in the modules of the clients; every
server is a child of whoever asked for it, listens on 127.0.0.1 alone, and keeps all
it has in one folder.
"""
