"""The package runs installed, without a checkout: what it needs travels in the wheel."""

import subprocess
import sys
import zipfile

import pytest

from tests.runs import ROOT


@pytest.mark.slow
def test_the_wheel_holds_catalogue_prompts_and_templates(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "curator_sdg/_data/catalog/arc.yaml" in names
    assert "curator_sdg/generation/prompts/generate/selection.j2" in names
    assert "curator_sdg/generation/prompts/generate/angles.yaml" in names
    assert "curator_sdg/packaging/templates/answer.j2" in names
    assert "curator_sdg/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "configs", "examples", "pipelines"))]

    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = "import curator_sdg, sys; from curator_sdg.seeds.loading import load_catalog; print(curator_sdg.__file__)"
    code += "; print(len(load_catalog().entries))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    file, count = run.stdout.split()
    assert file.startswith(str(site))
    assert int(count) >= 12
