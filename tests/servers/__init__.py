"""Private servers for the length of a test or a command: PostgreSQL, MariaDB, Redis."""
