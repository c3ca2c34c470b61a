"""The directive ``command-help``: what ``--help`` says, from the program itself.

``.. command-help:: train`` shows the usage of the command and its options, each with a
link target.
"""

import typer
from sphinx.util.docutils import SphinxDirective

from sktl.cli._app import app


class CommandHelp(SphinxDirective):
    """Describe a command; ``cache info`` is the command ``info`` of ``cache``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """Return the summary, the usage and the options."""
        command = typer.main.get_command(app)
        for name in self.arguments[0].split():
            command = command.commands[name]
        program = f"sktl {self.arguments[0]}"
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(
            [program, *("[OPTIONS]" for _ in options[:1]), *map(_in_usage, arguments)]
        )
        summary = command.help.splitlines()
        lines = [*summary, "", ".. code-block:: text", "", f"   {usage}", ""]
        lines += [f".. program:: {program}", ""]
        for param in [*arguments, *options]:
            lines += [f".. option:: {_signature(param)}", "", f"   {_help(param)}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def _in_usage(argument) -> str:
    """Return an argument as the usage shows it: FOLDER, IMAGES..., [PATH]."""
    text = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return text if argument.required else f"[{text}]"


def _signature(param) -> str:
    """Return an argument or option as it is typed."""
    if param.param_type_name == "argument":
        return _in_usage(param).strip("[]")
    long = param.opts[0]
    value = "" if param.is_flag else f" <{long.removeprefix('--')}>"
    return ", ".join([*param.opts[1:], long]) + value


def _help(param) -> str:
    """Return the help of a parameter, with its default and its limits."""
    text = param.help.strip().replace("*", r"\*").replace("|", r"\|")
    default = param.default
    if param.required:
        text += " *Required.*"
    elif default not in (None, False):
        values = default if isinstance(default, list) else [default]
        values = [getattr(value, "value", value) for value in values]
        text += f" *Default:* ``{' '.join(map(str, values))}``."
    if getattr(param, "min", None) is not None:
        upper = "" if param.max is None else f", at most {param.max}"
        text += f" At least {param.min}{upper}."
    return text


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
