CREATE TABLE IF NOT EXISTS notes (author text NOT NULL, text text NOT NULL);
