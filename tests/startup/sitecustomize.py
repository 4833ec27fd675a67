"""Python imports this module when it starts, in the programs that tests run: it stores compiled templates in a folder.

Rendering a project takes a second, most of it to compile 1,300 templates. They are the same for all combinations.
"""

import os
import sys


def store_compiled_templates(folder: str) -> None:
    """Let all processes compile a template once. Jinja's own bytecode cache excludes the templates in texts."""
    import hashlib  # noqa: PLC0415 - most programs need none of these
    import marshal  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415
    from types import CodeType  # noqa: PLC0415

    import jinja2  # noqa: PLC0415

    compile_template = jinja2.Environment.compile

    def compile_once(
        self: jinja2.Environment, source: str, name: str | None = None, filename: str | None = None
    ) -> CodeType:
        syntax = [value for value in vars(self).values() if isinstance(value, str | bool)]
        key = repr((sys.version, jinja2.__version__, source, name, syntax, sorted(self.extensions)))
        file = Path(folder, hashlib.sha256(key.encode()).hexdigest())
        try:
            compiled = file.read_bytes()
        except FileNotFoundError:
            compiled = marshal.dumps(compile_template(self, source, name, filename))
            # Other processes read the whole file or none.
            written = file.with_name(f"{file.name}.{os.getpid()}")
            written.write_bytes(compiled)
            written.replace(file)
        code: CodeType = marshal.loads(compiled)  # noqa: S302 - it is from these tests
        return code

    jinja2.Environment.compile = compile_once  # type: ignore[assignment]


if os.path.basename((sys.orig_argv[1:] or [""])[0]) in {"cookiecutter", "cruft"}:  # noqa: PTH119 - as above
    store_compiled_templates(os.environ["COMPILED_TEMPLATES"])
