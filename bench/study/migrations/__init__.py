"""The versions of a study's database, for Alembic. A new one is a file in `versions/`."""
