import sys
from pathlib import Path

CORPUS = Path(__file__).parents[2] / ".state" / "fuzz"


def main(arguments: list[str]) -> int:
    """Fuzz the target that is named first."""
    try:
        import atheris  # noqa: PLC0415 - only this command needs it
    except ImportError:
        print("atheris is not installed: pip install '.[fuzz]'", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["bridge"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - to be instrumented
    if not arguments or arguments[0] not in TARGETS:
        print("usage: python -m tests.fuzz TARGET [libFuzzer options]\ntargets:")
        print("\n".join(f"  {name}" for name in TARGETS))
        return 2
    name, *options = arguments
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    prefix = f"-artifact_prefix={corpus.parent}/"
    atheris.Setup([sys.argv[0], prefix, *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
