"""What docs/security.md promises of code and packages: nothing that runs what it reads, no password in a message, no
package that is known to be bad, and a page of licences that is true.

References: the syntax tree of every file, pip's own rules for versions, and the metadata of what is installed.
"""

import ast
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import ROOT, must, run

from components.checkout.packages import locked
from components.publishing.store import open_store
from components.runtime.errors import UserError
from infra import licences
from infra.known_bad import Package, check, installed, known_bad
from infra.locked import asked_for

CODE = sorted(path for folder in ("components", "flows", "infra") for path in (ROOT / folder).rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
RUNS_A_SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
ALLOWED = {
    ("components/objectives/perceptual.py", "from pickle import UnpicklingError"),  # the name of an error
    ("components/exporting/torchscript_files.py", "torch.jit.load"),  # our own output, to prove it equal
}


def dangers(source: str) -> Iterator[str]:
    """What in a Python file could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            unsafe = {
                called: called in RUNS_TEXT | RUNS_A_SHELL or called == "torch.jit.load",
                "shell=True": given.get("shell", "False") != "False",
                "allow_pickle": given.get("allow_pickle", "False") != "False",
                f"{called} of pickles": called.endswith("read_pickle")
                or (called == "torch.load" and given.get("weights_only") != "True"),
                f"{called} of tags": called in ("yaml.load", "yaml.unsafe_load") or "'unsafe'" in given.get("typ", ""),
            }
            yield from (name for name, is_unsafe in unsafe.items() if is_unsafe)


def test_no_code_runs_what_it_reads() -> None:
    found = {(path.relative_to(ROOT).as_posix(), danger) for path in CODE for danger in dangers(path.read_text())}
    assert found == ALLOWED
    assert len(CODE) > 150


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "eval(name)", "subprocess.run(line, shell=True)", "os.system(x)",
        "np.load(path, allow_pickle=True)", "torch.load(path)", "pd.read_pickle(path)", "yaml.load(text)",
        "YAML(typ='unsafe').load(text)", "torch.jit.load(path)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert len(list(dangers(source))) == 1


def test_ruff_looks_for_it_too_and_nobody_tells_it_not_to() -> None:
    silenced = re.compile(r"noqa:.*\b(S102|S30[1-7]|S506|S60[2-9]|S701)\b")
    assert [path for path in CODE if silenced.search(path.read_text())] == []
    bad = "import subprocess, pickle\nsubprocess.run(input(), shell=True)\npickle.loads(b'')\neval(input())\n"
    told = subprocess.run(
        ["ruff", "check", "--stdin-filename", "components/x.py", "--output-format", "concise", "-"],
        cwd=ROOT, input=bad, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert {"S602", "S301", "S307"} <= set(re.findall(r"\bS\d+\b", told))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("API request to http://me:pl@nted@host:1/api failed", "API request to http://host:1/api failed"),
        ("got 'postgresql+psycopg://me:planted@host/db', x@y", "got 'postgresql+psycopg://host/db', x@y"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ("http://token@host", "http://host"),
    ],
)
def test_a_message_shows_addresses_without_their_logins(said: str, shown: str) -> None:
    error = UserError(said, said, said)
    assert str(error) == f"{shown}: {shown}; {shown}"
    assert (error.where, error.what, error.fix) == (shown, shown, shown)


def test_what_mlflow_says_of_a_broken_server_is_passed_on_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(BaseHTTPRequestHandler):
        """Well by its own account, and a fault for every request."""

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:planted@{address}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        failed = rf"^http://{address}: the tracking store failed"
        with pytest.raises(UserError, match=failed) as caught, open_store("x") as store:
            _ = store.experiment_id
        server.shutdown()
    assert "planted" not in str(caught.value) and str(caught.value).count(address) > 1


def test_nothing_that_is_locked_or_installed_is_known_to_be_bad() -> None:
    assert "is on the list" in must(sys.executable, "-m", "infra.known_bad", cwd=ROOT)
    assert {package.name for package in locked()} >= asked_for()
    assert len(installed()) > 200


def test_a_bad_version_is_refused_with_its_reason(tmp_path: Path) -> None:
    bad = known_bad()
    with pytest.raises(UserError) as caught:
        check([Package("jinja2", "3.1.5"), Package("jinja2", "3.1.6")], bad, "here", "mend it")
    reason = "jinja2 3.1.5 is known to be bad (CVE-2025-27516: a template can leave the sandbox)"
    assert str(caught.value) == f"here: {reason}; mend it"
    with pytest.raises(UserError, match="torchtriton"):  # whatever its version
        check([Package("torchtriton", "2.0.0")], bad, "here", "mend it")
    (tmp_path / "requirements.lock").write_text("Torch==2.5.1 \\\n    --hash=sha256:00\n")
    done = run(sys.executable, "-m", "infra.known_bad", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert done.stderr.startswith("error: requirements.lock: torch 2.5.1 is known to be bad (CVE-2025-32434")


def test_every_package_is_locked_at_one_version_by_its_hashes() -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text().partition("\naiobotocore")[2])
    assert len(blocks) > 200
    assert [block.partition("\n")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_page_of_licences_is_true_for_what_is_asked_for() -> None:
    page = (ROOT / licences.OUT).read_text().splitlines()
    direct = [package for package in locked() if package.name in asked_for()]
    for package, said in licences.stated_by(direct).items():
        row = f"| {package.name} | {package.version} | {said} |"
        assert row in page, "run `make licences`"
        assert said != "not stated"
    assert {row.split(" | ")[0].removeprefix("| ") for row in page} >= {package.name for package in locked()}


def test_a_licence_is_read_from_wherever_it_is_stated() -> None:
    def stated(*fields: tuple[str, str]) -> Message:
        message = Message()
        for field in fields:
            message.add_header(*field)
        return message

    classifier = ("Classifier", "License :: OSI Approved :: MIT License")
    assert licences.licence(stated(("License-Expression", "MIT"), ("License", "x"))) == "MIT"
    assert licences.licence(stated(("License", "BSD"), classifier)) == "BSD"
    assert licences.licence(stated(("License", "A long text. " * 9), classifier)) == "MIT License"
    assert licences.licence(stated(("License", "UNKNOWN"))) == "not stated"


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs/security.md").read_text())
    assert len(named) > 20
    assert [
        f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text()
    ] == []
