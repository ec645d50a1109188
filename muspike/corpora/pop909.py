from muspike.corpora.folder import SOURCE as SOURCE
