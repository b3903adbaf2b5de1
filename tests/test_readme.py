"""The README's Python is run as it stands, and its commands exist."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_library_example_runs(tmp_path, monkeypatch, capsys):
    code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code) == 1
    assert code[0].count("\n") <= 30
    monkeypatch.chdir(tmp_path)
    exec(compile(code[0].replace("steps=250", "steps=5"), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "torch.Size([100, 1, 8, 8])" in printed
    assert "epsilon 8 at delta 1e-05" in printed


def test_every_make_target_and_study_that_it_names_exists():
    root = Path(__file__).parents[1]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert f"\n{target}:" in makefile
    ships = {f"studies/{path.name}" for path in (root / "studies").glob("*.toml")}
    assert set(re.findall(r"studies/\w+\.toml", README)) == ships
