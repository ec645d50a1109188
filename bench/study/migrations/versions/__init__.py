"""One file per version of a study's database."""
