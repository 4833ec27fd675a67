import csv
import io

from flask import Blueprint, Response, abort, jsonify, render_template_string, request
from flask.typing import ResponseReturnValue
from sqlalchemy import String, func, select
from sqlalchemy.orm import Mapped, mapped_column

from .core.database import Base, get_session

bp = Blueprint("notes", __name__, url_prefix="/notes")

PAGE = "<ul>{% for note in notes %}<li>{{ note.title }}</li>{% endfor %}</ul>"


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(80))
    body: Mapped[str] = mapped_column(String(2000), default="")
    stars: Mapped[int] = mapped_column(default=0)
    is_done: Mapped[bool] = mapped_column(default=False)

    def to_dict(self) -> dict[str, object]:
        return {"id": self.id, "title": self.title, "body": self.body, "stars": self.stars, "done": self.is_done}


def get_or_404(id: int) -> Note:
    note = get_session().get(Note, id)
    if note is None:
        abort(404)
    return note


@bp.get("/")
def index() -> ResponseReturnValue:
    page = request.args.get("page", 1, type=int)
    query = select(Note).order_by(Note.id.desc()).limit(20).offset((page - 1) * 20)
    notes = get_session().scalars(query).all()
    if request.accept_mimetypes.best == "text/html":
        return render_template_string(PAGE, notes=notes)
    else:
        return jsonify([note.to_dict() for note in notes])


@bp.post("/")
def create() -> ResponseReturnValue:
    data = request.get_json()
    if not data.get("title") or len(data["title"]) > 80:
        return {"error": "The title must have 1 to 80 characters"}, 400
    note = Note(title=data["title"], body=data.get("body", ""))
    get_session().add(note)
    get_session().commit()
    return note.to_dict(), 201


@bp.post("/<int:id>/done")
def finish(id: int) -> ResponseReturnValue:
    note = get_or_404(id)
    note.is_done = True
    note.stars = min(note.stars + 1, 5)
    get_session().commit()
    return note.to_dict()


@bp.delete("/<int:id>")
def delete(id: int) -> ResponseReturnValue:
    get_session().delete(get_or_404(id))
    get_session().commit()
    return "", 204


@bp.get("/stats")
def stats() -> ResponseReturnValue:
    # TODO: cache this, it is slow when there are more than a few hundred thousand notes in the table
    total = get_session().scalar(select(func.count()).select_from(Note)) or 0
    done = get_session().scalar(select(func.count()).where(Note.is_done)) or 0
    percent = round(done / total * 100) if total else 100
    return {"total": total, "done": done, "percent": percent}


@bp.get("/export")
def export() -> Response:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["id", "title", "stars"])
    for note in get_session().scalars(select(Note)):
        writer.writerow([note.id, note.title, note.stars])
    return Response(file.getvalue(), mimetype="text/csv")
