"""Alembic runs this file to bring a database to the newest version, in the transaction that it is given."""

from alembic import context

from muspike.bench.study.records import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
