"""Run a walk-through as written and put what it really printed under its commands.

    python tests/walkthroughs.py docs/walkthroughs/pictures.md

Works in a fresh clone of the commit that is checked out, with this checkout's environment. A ```yaml block is laid over
params.yaml, as the reader is told to do; each `$ command` of a ```console block runs in one shell, from the first block
to the last (a line that starts with `> ` continues the command above it), and what stood under it is replaced. A
command that fails ends the run, and the file stays as it was.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from conftest import ROOT, edit_params, environment
from ruamel.yaml import YAML

_BLOCK = re.compile(r"```(console|yaml)\n(.*?)```", re.DOTALL)
_END = "--- end of output, status "


class Shell:
    """One bash for a whole walk-through, so that variables and the working directory last."""

    def __init__(self, cwd: Path) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        """The output of a command that has to succeed."""
        self._bash.stdin.write(f"{command}\necho; echo '{_END}'$?\n")
        self._bash.stdin.flush()
        lines = []
        for line in self._bash.stdout:
            if line.startswith(_END):
                output = "".join(lines).removesuffix("\n")
                if line != f"{_END}0\n":
                    raise SystemExit(f"failed: {command}\n{output}")
                return output
            lines.append(line)
        raise SystemExit(f"the shell ended at: {command}")


def commands(block: str) -> list[str]:
    """The commands of a console block, without what they printed."""
    found: list[list[str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append([line[2:]])
        elif line.startswith("> ") and found:
            found[-1].append(line[2:])
    return ["\n".join(lines) for lines in found]


def perform(shell: Shell, command: str) -> str:
    """A command as the reader sees it, and its output."""
    print(f"$ {command}", flush=True)
    output = shell.run(command)
    print(output, end="", flush=True)
    return "$ " + command.replace("\n", "\n> ") + "\n" + output


def main(document: str) -> None:
    """Run one document and rewrite it."""
    path = Path(document)
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "hourglass"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(checkout)], check=True)
        (checkout / ".venv").symlink_to(ROOT / ".venv")
        shell = Shell(checkout)

        def redo(block: re.Match[str]) -> str:
            if block[1] == "yaml":
                edit_params(checkout, **YAML(typ="safe").load(block[2]))
                return block[0]
            return "```console\n" + "".join(perform(shell, command) for command in commands(block[2])) + "```"

        text = _BLOCK.sub(redo, path.read_text())
    path.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
