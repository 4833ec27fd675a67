"""Measure bulk upserts on PostgreSQL without an HTTP server: a batch per statement, and a row per statement."""

import os
import tempfile
from pathlib import Path

from benchmarks.projects import Project, make_environment
from benchmarks.render_time import TEMPLATE
from tests.services import PostgreSQL

ROUNDS, ROWS = 7, 100_000

PROBE = """
import sys
from time import perf_counter, process_time

from my_service.catalog.bulk import save_products
from my_service.catalog.models import Category, Product
from my_service.catalog.schemas import ProductIn
from my_service.core.database import get_session, postgresql, sqlite
from my_service.wsgi import app
from sqlalchemy import delete

from benchmarks.measurements import alternate, ratio

rounds, rows = map(int, sys.argv[1:])
ways = {"batch": postgresql.execute_upsert, "row": sqlite.execute_upsert}


def save(way, is_new):
    session = get_session()
    if is_new:
        session.execute(delete(Product))
        session.commit()
    postgresql.execute_upsert = way
    wall, cpu = perf_counter(), process_time()
    save_products(ProductIn(f"P-{number}", "Kite", 100, category.id) for number in range(rows))
    session.commit()
    return perf_counter() - wall, process_time() - cpu


with app.app_context():
    category = Category(name="Toys")
    get_session().add(category)
    get_session().commit()
    targets = {
        (kind, name): lambda way=way, kind=kind: save(way, kind == "new")
        for name, way in ways.items()
        for kind in ("new", "existing")
    }
    found = {key: [*zip(*times)] for key, times in alternate(targets, rounds).items()}
for kind in ("new", "existing"):
    wall, cpu = (ratio(*some) for some in zip(found[kind, "row"], found[kind, "batch"]))
    print(f"{rows:,} {kind} rows: {wall:.2f} times the speed, {1 / cpu:.2f} of the CPU time of the process")
"""


def main() -> None:
    """Print the ratios. They depend on the load of the machine; those of CPU time do so least."""
    with tempfile.TemporaryDirectory() as name, PostgreSQL.running() as server:
        folder = Path(name)
        project = Project(folder / "project", make_environment(folder / "environment"))
        settings = {"DATABASE_URL": server.create_database().url}
        project.run("alembic", "upgrade", "head", **settings)
        path = f"{project.folder / 'src'}{os.pathsep}{TEMPLATE}"
        print(project.run("python", "-c", PROBE, str(ROUNDS), str(ROWS), **settings, PYTHONPATH=path), end="")


if __name__ == "__main__":
    main()
