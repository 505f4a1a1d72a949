-- One row while a copy into this store is not finished: how far it is.
CREATE TABLE store_copy (
    id INTEGER PRIMARY KEY CHECK (id = 1), source TEXT NOT NULL, state TEXT NOT NULL, noun TEXT NOT NULL,
    place TEXT NOT NULL, rows INTEGER NOT NULL, began_at INTEGER NOT NULL
);
