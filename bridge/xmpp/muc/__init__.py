"""The MUC service that we host, by chapter of XEP-0045."""
