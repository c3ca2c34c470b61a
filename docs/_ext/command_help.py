"""The directive ``command-help``: what ``--help`` says, from the program itself.

``.. command-help:: train`` shows how the command is called and its options, each of
which can be linked to. Made from the same objects as the help itself, so it cannot say
anything else.
"""

import typer
from sphinx.util.docutils import SphinxDirective

from sktl.cli._app import app


class CommandHelp(SphinxDirective):
    """Describe a command, ``cache info`` for one below another."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """Return the summary, the usage and the options."""
        command = typer.main.get_command(app)
        for name in self.arguments[0].split():
            command = command.commands[name]
        called = f"sktl {self.arguments[0]}"
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(
            [called, *("[OPTIONS]" for _ in options[:1]), *map(_placed, arguments)]
        )
        summary = command.help.splitlines()
        lines = [*summary, "", ".. code-block:: text", "", f"   {usage}", ""]
        lines += [f".. program:: {called}", ""]
        for param in [*arguments, *options]:
            lines += [f".. option:: {_named(param)}", "", f"   {_told(param)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def _placed(argument) -> str:
    """Return an argument as it stands in the usage: FOLDER, IMAGES..., [PATH]."""
    text = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return text if argument.required else f"[{text}]"


def _named(param) -> str:
    """Return an argument or option as it is written."""
    if param.param_type_name == "argument":
        return _placed(param).strip("[]")
    long = param.opts[0]
    value = "" if param.is_flag else f" <{long.removeprefix('--')}>"
    return ", ".join([*param.opts[1:], long]) + value


def _told(param) -> str:
    """Return the help of a parameter, with what is taken if it is not given."""
    text = param.help.strip().replace("*", r"\*").replace("|", r"\|")
    default = param.default
    if param.required:
        text += " *Required.*"
    elif default not in (None, False):
        values = default if isinstance(default, list) else [default]
        text += f" *Default:* ``{' '.join(map(str, values))}``."
    if getattr(param, "min", None) is not None:
        upper = "" if param.max is None else f", at most {param.max}"
        text += f" At least {param.min}{upper}."
    return text


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
