-- Compose's database server runs this file when it creates its volume. `flask db stats` reads the extension.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
