"""Feeds every decoder with bytes of strangers, guided by what they reach.

    python -m tests.fuzz                    lists the targets
    python -m tests.fuzz html [OPTIONS]     fuzzes one until it finds something

Options go to libFuzzer, as ``-max_total_time=60``. What it learns lies in
``.state/fuzz/TARGET``. It needs atheris: ``pip install .[fuzz]``.
"""
