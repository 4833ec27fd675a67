-- Compose's database server runs this file when it creates its volume. `flask db stats` reads what it grants.
GRANT SELECT ON performance_schema.* TO 'app'@'%';
