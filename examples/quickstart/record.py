"""Record the quickstart's completions anew, from any OpenAI-compatible endpoint.

    python examples/quickstart/record.py --base-url http://localhost:8000/v1 --model NAME

It runs configs/quickstart.yaml against the endpoint in a directory of its own, which it can go on with after an
interruption, writes the journal's completions to examples/quickstart/recording/, one file a step, and names the model
in configs/quickstart.yaml.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "quickstart.yaml"


def main() -> None:
    """Run, collect, write."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--base-url", required=True, help="up to and including /v1")
    parser.add_argument("--model", required=True, help="as the endpoint knows it")
    parser.add_argument("--api-key-env", help="the environment variable that holds the key")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/quickstart-recording"))
    arguments = parser.parse_args()

    overrides = {
        "teacher.engine": "endpoint",
        "teacher.base_urls": json.dumps([arguments.base_url]),
        "teacher.model": json.dumps(arguments.model),
        "teacher.api_key_env": json.dumps(arguments.api_key_env),
    }
    command = [sys.executable, "-m", "curator_sdg.cli", "run", str(CONFIG), "--run-dir", str(arguments.run_dir)]
    command += [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    subprocess.run(command, check=True)

    for step in ("generate", "enrich"):
        completions = {
            (entry := json.loads(line))["key"]: entry
            for segment in sorted((arguments.run_dir / "journal" / step).rglob("*.jsonl.zst"))
            for line in pa.input_stream(segment, compression="zstd").read().splitlines()
        }
        lines = [json.dumps(completions[key], ensure_ascii=False) + "\n" for key in sorted(completions)]
        (HERE / "recording").mkdir(exist_ok=True)
        (HERE / "recording" / f"{step}.jsonl").write_text("".join(lines), encoding="utf-8")
    text = re.sub(r"(?m)^  model: .*$", lambda _: f"  model: {json.dumps(arguments.model)}", CONFIG.read_text())
    CONFIG.write_text(text)


if __name__ == "__main__":
    main()
