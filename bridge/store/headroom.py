"""Makes SQLite's log as long as it will get before anybody waits for a commit.

A commit that makes the file longer waits until the file system has noted its length,
too: 0.8 ms instead of 0.1 (median on the machine that README's figures are from).
What is rolled back leaves the log long and the database as it was.
"""

import logging
import shutil
import sqlite3
from pathlib import Path

from bridge.store.driver import Connection
from bridge.store.engine import CACHE_KB, LOG_PAGES, PAGE_BYTES

logger = logging.getLogger(__name__)

PIECE = 1 << 20
LOG_BYTES = LOG_PAGES * PAGE_BYTES + 2 * PIECE
FREE_MIN = 64 * LOG_BYTES
"""On a disk with less room than that, the log grows as it must."""


def lengthen(connection: Connection, file: Path) -> None:
    """Make the log of the SQLite database *file* long; no transaction may be open."""
    if shutil.disk_usage(file.parent).free < FREE_MIN:
        return
    cursor = connection.cursor()
    try:
        # What the cache has no room for goes to the log before it is committed.
        cursor.execute("PRAGMA cache_size = 16", ())
        cursor.execute("BEGIN IMMEDIATE", ())
        cursor.execute("CREATE TABLE headroom (zeros BLOB)", ())
        for _ in range(LOG_BYTES // PIECE):
            cursor.execute("INSERT INTO headroom VALUES (zeroblob(?))", (PIECE,))
    except sqlite3.Error as error:
        logger.debug("the log of the database grows as it must: %s", error)
    finally:
        connection.rollback()
        cursor.execute(f"PRAGMA cache_size = {-CACHE_KB}", ())
