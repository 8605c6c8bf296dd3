"""The notebook runs from its start to its end, in a fresh folder and a kernel of this Python.

With PARECONV_WRITE_PAGES=1 it is written anew, with what its cells print.
"""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


class OwnKernel(AsyncKernelManager):
    """Of this Python, whatever kernels the user has installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, language="python", display_name="here")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_manager_class=OwnKernel,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    for cell in notebook.cells:
        tidy(cell)
    if os.environ.get("PARECONV_WRITE_PAGES") == "1":
        nbformat.write(notebook, NOTEBOOK)
    return notebook


def tidy(cell: NotebookNode) -> None:
    """Without what differs from run to run or from machine to machine, its streams as one."""
    cell.metadata.pop("execution", None)  # when it ran
    streams = [each for each in cell.get("outputs", []) if each.output_type == "stream"]
    if streams:
        lines = "".join(each.text for each in streams).splitlines(keepends=True)
        # That Optuna finds no ipywidgets, with the path of a package.
        told = [each for each in lines if "tqdm" not in each]
        others = [each for each in cell.outputs if each.output_type != "stream"]
        cell.outputs = [
            nbformat.v4.new_output("stream", name="stderr", text="".join(told)),
            *others,
        ]


def printed_by(notebook: NotebookNode, source: str) -> str:
    """All text that the cell with this in its source gave."""
    [cell] = [each for each in notebook.cells if each.cell_type == "code" and source in each.source]
    texts = (each.get("text") or each.get("data", {}).get("text/plain") for each in cell.outputs)
    return "\n".join(filter(None, texts))


def test_compress_tells_in_lines_how_far_it_is(executed: NotebookNode) -> None:
    lines = printed_by(executed, "front = compress")
    assert "finished: validation accuracy" in lines
    assert "trial 5" in lines
    assert "best " in lines


def test_the_front_is_a_table_with_the_teacher_on_top(executed: NotebookNode) -> None:
    table = printed_by(executed, "front = compress")
    assert "teacher" in table
    assert "validation" in table


def test_the_front_is_drawn(executed: NotebookNode) -> None:
    outputs = [each for cell in executed.cells for each in cell.get("outputs", [])]
    assert any("image/png" in each.get("data", {}) for each in outputs)


def test_the_student_reads_digits_from_its_onnx_file(executed: NotebookNode) -> None:
    said = printed_by(executed, "InferenceSession")
    share = float(said.strip("'").split("%")[0])
    assert share > 80
