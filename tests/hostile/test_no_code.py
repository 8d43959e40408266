"""No door by which data becomes code: every file of the harness is read, not searched, for what opens one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "harness"
FILES = sorted(ROOT.rglob("*.py"))
# Modules of which a file may import nothing, with what is let through: an exception's class is no door.
MODULES = {
    "pickle": {"UnpicklingError"},
    "cPickle": set(),
    "_pickle": set(),
    "dill": set(),
    "cloudpickle": set(),
    "joblib": set(),
    "shelve": set(),
    "tarfile": set(),
    "pty": set(),
    "code": set(),
    "codeop": set(),
    "runpy": set(),
    "xml.sax": set(),
    "xml.dom.minidom": set(),
    "xmlrpc": set(),
}
CALLS = frozenset({"eval", "exec", "compile", "__import__", "execfile", "breakpoint", "input"})
METHODS = {
    "loads": "marshal",
    "load": "marshal",
    "extractall": None,
    "extract": None,
    "unpack_archive": None,
    "system": "os",
    "popen": "os",
    "getoutput": "subprocess",
    "getstatusoutput": "subprocess",
    "read_pickle": None,
    "to_pickle": None,
    "load_pickle": None,
    "enable_unsafe_deserialization": None,
    "unsafe_load": None,
    "full_load": None,
    "load_all": None,
    "safe_load": None,
    "set_default_loader": None,
    "run_code": None,
}
# Where a module is imported by a name that is known only when it runs: the catalogue's (built in, installed or named by
# whoever starts the command), and what a worker of a running suite is told to load beforehand.
IMPORTS = {
    "catalogue.py",
    "run/worker.py",
    "run/server.py",
    "run/operation.py",
    "run/probe.py",
    "environments/syncing.py",
    "run/rank.py",
    "run/engines/__init__.py",
}


def _calls(file: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _given(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def opened(text: str, file: str = "x.py") -> list[str]:
    """What of a module's source opens a door, one line each."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [f"import {one.name}" for one in node.names if any(_below(one.name, bad) for bad in MODULES)]
        elif isinstance(node, ast.ImportFrom) and node.module:
            let = next((names for bad, names in MODULES.items() if _below(node.module, bad)), None)
            found += [
                f"from {node.module} import {one.name}" for one in node.names if let is not None and one.name not in let
            ]
        elif isinstance(node, ast.Call):
            found += _doors(node, file)
    return found


def _below(module: str, bad: str) -> bool:
    return module == bad or module.startswith(f"{bad}.")


def _doors(call: ast.Call, file: str) -> list[str]:
    name = _name(call.func)
    owner, _, method = name.rpartition(".")
    if name in CALLS:
        return [name]
    if method in METHODS and METHODS[method] in (None, owner):
        return [name]
    if name == "yaml.load" or (owner == "yaml" and method in ("compose", "parse") and _given(call, "Loader") is None):
        return [f"{name} without a loader of ours"]
    if name == "torch.load" and not _is(_given(call, "weights_only"), True):
        return ["torch.load without weights_only"]
    if method == "load" and owner in ("np", "numpy") and not _is(_given(call, "allow_pickle"), False):
        return ["numpy.load with pickles"]
    if _given(call, "shell") is not None and not _is(_given(call, "shell"), False):
        return [f"{name} with a shell"]
    if (trust := _given(call, "trust_remote_code")) is not None and not _is(trust, False):
        return [f"{name} trusting remote code"]
    if method == "import_module" and file not in IMPORTS and not isinstance(call.args[0], ast.Constant):
        return [f"{name} of a name from elsewhere"]
    if method == "from_pretrained" and not _refuses_code(call):
        return [f"{name} that does not refuse code"]
    return []


def _refuses_code(call: ast.Call) -> bool:
    safely = any(keyword.arg is None and _name(keyword.value) == "SAFELY" for keyword in call.keywords)
    return safely or _is(_given(call, "trust_remote_code"), False) or _name(call.func) == "PeftModel.from_pretrained"


@pytest.mark.parametrize(
    "door",
    [
        "import pickle",
        "from pickle import loads",
        "marshal.loads(x)",
        "import joblib",
        "import tarfile",
        "eval('1')",
        "exec('1')",
        "compile('1', '', 'eval')",
        "__import__(name)",
        "archive.extractall()",
        "archive.extract('a')",
        "shutil.unpack_archive(a)",
        "os.system('x')",
        "os.popen('x')",
        "subprocess.run('x', shell=True)",
        "subprocess.run('x', shell=flag)",
        "yaml.load(text)",
        "yaml.safe_load(text)",
        "yaml.compose(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path)",
        "np.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
        "load(path, trust_remote_code=True)",
        "load(path, trust_remote_code=flag)",
        "importlib.import_module(name)",
        "AutoModel.from_pretrained(path)",
        "AutoModel.from_pretrained(path, **options)",
        "input('?')",
    ],
)
def test_a_door_would_be_found(door: str) -> None:
    assert opened(door)


@pytest.mark.parametrize(
    "wall",
    [
        "from pickle import UnpicklingError",
        "torch.load(path, weights_only=True)",
        "numpy.load(path, allow_pickle=False)",
        "model.eval()",
        "re.compile('x')",
        "subprocess.run(['x'])",
        "AutoModel.from_pretrained(path, **SAFELY)",
        "yaml.compose(text, Loader=ours)",
        "importlib.import_module('harness.run.worker')",
    ],
)
def test_a_wall_is_none(wall: str) -> None:
    assert not opened(wall)


def test_no_file_of_the_harness_opens_one() -> None:
    assert len(FILES) > 200
    found = {
        str(file.relative_to(ROOT)): doors
        for file in FILES
        if (doors := opened(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT))))
    }
    assert not found


def test_no_command_offers_to_trust_code() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "cli").glob("*.py"))
    assert "trust_remote" not in text and "--trust" not in text, (
        "the answer is that remote code never runs: there is no flag for it"
    )


def test_the_command_line_prints_through_its_own_door() -> None:
    """A bare ``print`` or ``echo`` would write what a file says to the terminal as it is."""
    wrong = []
    for file in sorted((ROOT / "cli").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = {_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        taken = {
            one.asname or one.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "harness.cli.terminal"
            for one in node.names
        }
        if file.name != "terminal.py" and "print" in calls and "print" not in taken:
            wrong.append(f"{file.name}: print")
        wrong += [
            f"{file.name}: {name}"
            for name in calls
            if name in ("typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write")
        ]
    assert not wrong


def test_nothing_below_the_command_line_prints() -> None:
    below = [
        file
        for file in FILES
        if file.relative_to(ROOT).parts[0] in ("plan", "results", "claims", "analyse", "report", "data")
    ]
    assert not [file.name for file in below for call in _calls(file) if _name(call.func) == "print"]
