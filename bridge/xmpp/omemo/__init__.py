"""OMEMO: one device for each puppet, on python-omemo."""
